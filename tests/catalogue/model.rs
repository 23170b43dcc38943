//! Random lives of a directory: clocks that jump, disks that rot, clusters that are wiped, catalogues that are
//! lost, any policy. At no moment does retention take the last verified backup, and it never takes what is
//! none of its business.

use etcd_rescue::catalogue::compare::{self, Vitals};
use etcd_rescue::catalogue::fresh::{self, Freshness};
use etcd_rescue::catalogue::keep::{self, Count, Item, Marks, Policy, Within};
use etcd_rescue::catalogue::records::{Catalogue, How};
use jiff::{SignedDuration, Timestamp};

use super::Random;

/// A file in the simulated directory.
struct Archive {
    id: String,
    /// When it was made, by a clock that is always right.
    made: u64,
    /// What the clock of the machine said.
    at: Timestamp,
    vitals: Vitals,
    by_backup: bool,
    /// What the disk did to it, which only a check finds out.
    rotten: bool,
    /// It was read whole since the catalogue was lost for the last time.
    proved: bool,
    /// The last check found it rotten.
    found: bool,
    bytes: u64,
}

struct World {
    /// Hours since the beginning.
    hours: u64,
    /// What the clock of the machine adds to that.
    wrong_by: i64,
    cluster: u64,
    revision: i64,
    keys: u64,
    next: u64,
    archives: Vec<Archive>,
    catalogue: Catalogue,
    /// The numbers of the catalogue were lost at this moment.
    lost: u64,
}

#[test]
fn the_last_verified_backup_is_never_removed() {
    let random = &mut Random::new();
    let mut removed = 0;
    for _ in 0..60 {
        let mut world = World::new();
        for _ in 0..400 {
            removed += world.step(random);
            world.judge();
        }
    }
    assert!(
        removed > 1_000,
        "only {removed} were removed: too weak a test"
    );
}

/// Hourly from one leap year into the next, pruned after every backup, with everything that goes wrong.
#[test]
fn a_year_of_hourly_backups_keeps_its_history() {
    let random = &mut Random::new();
    let policy = Policy {
        last: Count::Newest(24),
        daily: Count::Newest(7),
        weekly: Count::Newest(5),
        monthly: Count::Newest(12),
        within: "2d".parse().unwrap(),
        ..Policy::default()
    };
    let mut world = World::new();
    let mut steady = 0;
    for _ in 0..400 * 24 {
        world.hours += 1;
        world.revision += 10;
        match random.below(200) {
            0 => world.rot(random),
            1 => world.wrong_by = random.below(200) as i64 - 100,
            2..40 => world.wrong_by = 0,
            // The server is down, the disk is full, the run was killed: there is no new backup.
            40..50 => {
                world.judge();
                continue;
            }
            50 => world.check(),
            _ => {}
        }
        world.backup();
        let made = world.next;
        steady = if world.wrong_by == 0 { steady + 1 } else { 0 };
        world.prune_by(&policy);
        world.judge();
        assert!(world.archives.iter().any(|archive| archive.made == made));
        // The last 24 that were made with the right clock are there.
        let recent = world
            .archives
            .iter()
            .filter(|archive| archive.made + steady.min(24) > made);
        assert_eq!(recent.count() as u64, steady.min(24), "at {}", world.now());
    }
    world.wrong_by = 0;
    world.prune_by(&policy);
    let age = |archive: &Archive| (world.now().as_second() - archive.at.as_second()) / 86_400;
    let known = |archive: &&Archive| {
        let record = world.catalogue.get(&archive.id);
        record.is_none_or(|record| record.damaged.is_none())
    };
    let left = world.archives.iter().filter(known).count();
    assert!(left < 110, "{left} are left");
    // The only one of a month may have rotted; then it is still there.
    let ages: Vec<i64> = world.archives.iter().map(age).collect();
    assert!(
        ages.iter().any(|age| *age > 300),
        "nothing is left of last winter: {ages:?}"
    );
    for month in 0..11 {
        let of_month = ages
            .iter()
            .filter(|age| (month * 30..month * 30 + 62).contains(*age));
        assert!(
            of_month.count() > 0,
            "no backup {month} months old: {ages:?}"
        );
    }
}

impl World {
    fn new() -> World {
        World {
            hours: 0,
            wrong_by: 0,
            cluster: 1,
            revision: 1,
            keys: 100,
            next: 0,
            archives: Vec::new(),
            catalogue: Catalogue::default(),
            lost: 0,
        }
    }

    fn now(&self) -> Timestamp {
        let start: Timestamp = "2023-12-01T00:17:00Z".parse().unwrap();
        start + SignedDuration::from_hours(self.hours as i64 + self.wrong_by)
    }

    /// Something happens; how many backups were removed by it.
    fn step(&mut self, random: &mut Random) -> usize {
        self.hours += random.below(6);
        self.revision += random.below(50) as i64;
        match random.below(40) {
            0 => self.wrong_by = random.below(40_000) as i64 - 20_000,
            1..4 => self.wrong_by = 0,
            4 => {
                // Made anew, with nothing in it.
                self.cluster += 1;
                (self.revision, self.keys) = (1, random.below(3));
            }
            5 => self.revision -= random.below(500).min(self.revision as u64) as i64,
            6 => self.keys = random.below(200),
            7 => self.lose_the_catalogue(random),
            8 => self.check(),
            9 if random.once_in(3) => self.lose_a_manifest(random),
            9 => self.rot(random),
            10 => self.pin_or_unpin(random),
            11 => self.save(),
            12..20 => return self.prune(random),
            _ => self.backup(),
        }
        0
    }

    fn backup(&mut self) {
        let before = self.catalogue.last_vitals().cloned();
        let before = before.or_else(|| self.newest().map(|archive| archive.vitals.clone()));
        let odd = compare::suspicious(before.as_ref(), &self.vitals());
        let (id, now) = (self.add(true), self.now());
        let odd = odd.iter().map(ToString::to_string).collect();
        let file = format!("{id}.db.zst");
        self.catalogue.made((&id, &file), self.vitals(), now, odd);
        self.proved(&id);
    }

    /// What somebody else puts there.
    fn save(&mut self) {
        let id = self.add(false);
        let now = self.now();
        self.catalogue.entry(&id).found_good(now, How::Check);
        self.proved(&id);
    }

    fn proved(&mut self, id: &str) {
        let archive = self.archives.iter_mut().find(|archive| archive.id == id);
        archive.unwrap().proved = true;
    }

    /// Monitoring is green if and only if a proved backup of the last day is there that no check found rotten.
    fn judge(&self) {
        let (now, day) = (self.now(), SignedDuration::from_hours(26));
        let green = fresh::freshness(&self.items(), day, now);
        let young = self.archives.iter().any(|archive| {
            let age = now.duration_since(archive.at);
            archive.proved && !archive.found && !age.is_negative() && age <= day
        });
        assert_eq!(
            matches!(green, Freshness::Fresh(_)),
            young,
            "{green:?} at {now}"
        );
    }

    fn add(&mut self, by_backup: bool) -> String {
        self.next += 1;
        let id = format!("{:032x}", self.next.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        self.archives.push(Archive {
            id: id.clone(),
            made: self.next,
            at: self.now(),
            vitals: self.vitals(),
            by_backup,
            rotten: false,
            proved: false,
            found: false,
            bytes: 100 + self.keys,
        });
        id
    }

    fn vitals(&self) -> Vitals {
        Vitals {
            cluster_id: Some(self.cluster.to_string()),
            revision: self.revision,
            live_keys: self.keys,
        }
    }

    fn newest(&self) -> Option<&Archive> {
        let items = self.items();
        let id = &keep::last_verified(&items, self.now())?.id;
        self.archives.iter().find(|archive| archive.id == *id)
    }

    fn lose_the_catalogue(&mut self, random: &mut Random) {
        let bytes = self.catalogue.encode().unwrap();
        self.catalogue = match random.below(3) {
            0 => Catalogue::default(),
            1 => Catalogue::decode(&bytes[..bytes.len() / 2]),
            // Not lost, only written and read.
            _ => {
                let read = Catalogue::decode(&bytes);
                assert_eq!(read.encode().unwrap(), bytes);
                return;
            }
        };
        self.lost = self.next;
        for archive in &mut self.archives {
            (archive.proved, archive.found) = (false, false);
        }
    }

    fn check(&mut self) {
        let now = self.now();
        for archive in &mut self.archives {
            archive.found = archive.rotten;
            archive.proved |= !archive.rotten;
            let record = self.catalogue.entry(&archive.id);
            match archive.rotten {
                true => record.found_damaged(now, "rotten"),
                false => record.found_good(now, How::Check),
            }
        }
    }

    fn rot(&mut self, random: &mut Random) {
        if let Some(archive) = self.any(random) {
            archive.rotten = true;
        }
    }

    /// Nothing of it is an archive any more.
    fn lose_a_manifest(&mut self, random: &mut Random) {
        if !self.archives.is_empty() {
            let number = random.below(self.archives.len() as u64);
            self.archives.remove(number as usize);
        }
    }

    fn pin_or_unpin(&mut self, random: &mut Random) {
        let now = self.now();
        let Some(id) = self.any(random).map(|archive| archive.id.clone()) else {
            return;
        };
        let record = self.catalogue.entry(&id);
        match random.once_in(3) {
            true => record.pin(now),
            false => record.unpin(now),
        }
    }

    fn any(&mut self, random: &mut Random) -> Option<&mut Archive> {
        let number = self.archives.len().max(1) as u64;
        self.archives.get_mut(random.below(number) as usize)
    }

    fn items(&self) -> Vec<Item> {
        let item = |archive: &Archive| {
            let record = self.catalogue.get(&archive.id);
            let marks = Marks {
                by_backup: archive.by_backup,
                dated: true,
                verified: record.is_some_and(|record| record.verified.is_some()),
                damaged: record.is_some_and(|record| record.damaged.is_some()),
                suspicious: record.is_some_and(|record| record.is_suspicious()),
                pinned: record.is_some_and(|record| record.pinned.is_some()),
            };
            Item {
                id: archive.id.clone(),
                at: archive.at,
                bytes: archive.bytes,
                cluster: archive.vitals.cluster_id.clone(),
                revision: archive.vitals.revision,
                order: record.and_then(|record| record.order),
                marks,
            }
        };
        self.archives.iter().map(item).collect()
    }

    fn prune(&mut self, random: &mut Random) -> usize {
        self.prune_by(&policy(random))
    }

    fn prune_by(&mut self, policy: &Policy) -> usize {
        let (items, now) = (self.items(), self.now());
        let good = |item: &&Item| item.is_good();
        let of = |item: &Item| {
            self.archives
                .iter()
                .find(|archive| archive.id == item.id)
                .unwrap()
        };
        let newest_by_date = items
            .iter()
            .filter(good)
            .filter(|item| item.at <= now)
            .max_by_key(|item| (item.at, item.order, item.revision));
        let last_made = items.iter().filter(good).max_by_key(|item| of(item).made);
        // Without the catalogue's numbers nobody can know.
        let last_made = last_made.filter(|item| of(item).made > self.lost);
        let must_stay: Vec<(&str, String)> = [("newest", newest_by_date), ("last made", last_made)]
            .into_iter()
            .filter_map(|(why, item)| Some((why, item?.id.clone())))
            .collect();

        let plan = keep::decide(&items, policy, now);
        let removed: Vec<&Item> = plan.removed().map(|decision| &decision.item).collect();
        for item in &removed {
            let marks = item.marks;
            assert!(
                marks.by_backup && marks.verified && !marks.damaged,
                "{item:?} under {policy:?}"
            );
            assert!(
                !marks.pinned && !marks.suspicious,
                "{item:?} under {policy:?}"
            );
        }
        for (why, id) in &must_stay {
            assert!(
                removed.iter().all(|item| item.id != *id),
                "the {why} verified backup {id} is removed under {policy:?} at {now}:\n{}",
                listing(&plan)
            );
        }
        let removed: Vec<String> = removed.iter().map(|item| item.id.clone()).collect();
        self.archives
            .retain(|archive| !removed.contains(&archive.id));
        removed.iter().for_each(|id| self.catalogue.forget(id));
        removed.len()
    }
}

fn listing(plan: &keep::Plan) -> String {
    let lines = plan.decisions.iter();
    let lines: Vec<String> = lines
        .map(|d| format!("{:?} {:?}", d.item, d.fate))
        .collect();
    lines.join("\n")
}

/// Any policy, the greedy ones more often than people would.
fn policy(random: &mut Random) -> Policy {
    let mut count = || match random.below(8) {
        0..6 => Count::Off,
        6 => Count::Newest(1 + random.below(4) as u32),
        _ => Count::Unlimited,
    };
    Policy {
        last: count(),
        hourly: count(),
        daily: count(),
        weekly: count(),
        monthly: count(),
        yearly: count(),
        within: Within {
            hours: if random.once_in(2) {
                1 + random.below(99) as u32
            } else {
                0
            },
            ..Within::default()
        },
        max_size: random.once_in(3).then(|| random.below(3_000)),
    }
}
