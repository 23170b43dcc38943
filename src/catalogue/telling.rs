//! Where a run of `backup` tells how it went: the files of `--report` and `--metrics`.
//!
//! Both are replaced as a whole, so what stands there must be an older one of the same kind, or empty. Anything else
//! was named by mistake, an archive perhaps, and stays.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::metrics;
use super::run::{self, RunReport};
use crate::error::{Error, Kind, Result};
use crate::io::staged::StagedFile;

/// Names in a directory of backups that begin like this are its own.
const OWN: &str = ".etcd-rescue";

/// A report is a few thousand bytes; a longer file is none.
const REPORT_MAX: u64 = 64 << 20;

/// The files, those that were asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Telling {
    /// `--report`
    pub report: Option<PathBuf>,
    /// `--metrics`
    pub metrics: Option<PathBuf>,
}

/// What one of them is.
struct Place {
    flag: &'static str,
    what: &'static str,
    /// For somebody who wants it elsewhere than in a file.
    elsewhere: &'static str,
    ours: fn(&[u8]) -> bool,
}

const REPORT: Place = Place {
    flag: "--report",
    what: "a report",
    elsewhere: "name a file; -w json prints the report on standard output",
    ours: run::is_report,
};

const METRICS: Place = Place {
    flag: "--metrics",
    what: "metrics of etcd-rescue",
    elsewhere: "name a file that ends in .prom, where node_exporter's textfile collector looks",
    ours: metrics::are_ours,
};

impl Telling {
    /// `Error::refused` when something stands in one of the places that must not be replaced. A place that cannot be
    /// written to is told after the run: a backup without a report is better than none.
    pub fn refuse_foreign(&self) -> Result<()> {
        let places = [(REPORT, &self.report), (METRICS, &self.metrics)];
        for (place, path) in places {
            let Some(path) = path else {
                continue;
            };
            match place.replaceable(path) {
                Err(error) if error.kind() == Kind::Refused => {
                    return Err(place.within(path, error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Replaces the report in one step, 0600.
    pub fn report(&self, report: &RunReport) -> Result<()> {
        match &self.report {
            Some(path) => REPORT.write(path, &report.json()?, 0o600),
            None => Ok(()),
        }
    }

    /// Replaces the metrics in one step, 0644: the collector runs as another user, and there is nothing secret in
    /// them. The names they have before match no `*.prom`.
    pub fn metrics(&self, report: &RunReport) -> Result<()> {
        match &self.metrics {
            Some(path) => METRICS.write(path, metrics::render(report).as_bytes(), 0o644),
            None => Ok(()),
        }
    }
}

impl Place {
    fn write(&self, path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
        let mut file = self.stage(path)?;
        let within = |error: Error| self.within(path, error);
        file.write_all(bytes)
            .map_err(|e| within(file.write_error(e)))?;
        file.file()
            .set_permissions(std::fs::Permissions::from_mode(mode))
            .map_err(|e| within(Error::io("set the mode of", path, e)))?;
        file.commit().map_err(within)
    }

    /// A file that may take the place.
    fn stage(&self, path: &Path) -> Result<StagedFile> {
        self.replaceable(path)
            .and_then(|()| StagedFile::create(path, true))
            .map_err(|error| self.within(path, error))
    }

    fn within(&self, path: &Path, error: Error) -> Error {
        error.within(format!("{} {}", self.flag, path.display()))
    }

    /// Refuses what must not be replaced.
    fn replaceable(&self, path: &Path) -> Result<()> {
        let name = path.file_name().unwrap_or_default();
        if name.as_encoded_bytes().starts_with(OWN.as_bytes()) {
            return Err(Error::refused(format!(
                "names that begin with {OWN} are those of a directory of backups itself"
            ))
            .hint("choose another name"));
        }
        let device = ["/dev", "/proc"].iter().any(|dir| path.starts_with(dir));
        match path.metadata() {
            Ok(found) if found.is_dir() => {
                Err(Error::refused("it is a directory").hint("name a file in it"))
            }
            Ok(found) if device || !found.is_file() => {
                Err(Error::refused("no file that could be replaced").hint(self.elsewhere))
            }
            Ok(found) if found.is_file() && found.len() > 0 => {
                let mut bytes = Vec::new();
                File::open(path)
                    .and_then(|file| file.take(REPORT_MAX).read_to_end(&mut bytes))
                    .map_err(|e| Error::io("read", path, e))?;
                match (self.ours)(&bytes) {
                    true => Ok(()),
                    false => Err(Error::refused(format!(
                        "what is there is not {}, and stays",
                        self.what
                    ))
                    .hint("choose another name, or move that file away first")),
                }
            }
            // Whatever is wrong with it otherwise is found out by trying.
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    fn report() -> RunReport {
        let now = jiff::Timestamp::UNIX_EPOCH;
        RunReport::begin("etcd-rescue 0.2.0", "h", Path::new("/b"), now)
    }

    #[test]
    fn both_are_replaced_as_a_whole_and_metrics_are_for_another_user() {
        let dir = tempfile::tempdir().unwrap();
        let telling = Telling {
            report: Some(dir.path().join("report.json")),
            metrics: Some(dir.path().join("etcd.prom")),
        };
        telling.refuse_foreign().unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        // What somebody made beforehand, for the sake of its owner.
        std::fs::write(dir.path().join("etcd.prom"), "").unwrap();
        let mut report = report();
        for _ in 0..2 {
            report.duration_seconds += 1.5;
            telling.refuse_foreign().unwrap();
            telling.metrics(&report).unwrap();
            telling.report(&report).unwrap();
        }
        let read = std::fs::read(dir.path().join("report.json")).unwrap();
        let read: RunReport = serde_json::from_slice(&read).unwrap();
        assert_eq!(read, report);
        let text = std::fs::read_to_string(dir.path().join("etcd.prom")).unwrap();
        assert_eq!(text, metrics::render(&report));
        let mode = |name| {
            dir.path()
                .join(name)
                .metadata()
                .unwrap()
                .permissions()
                .mode()
        };
        assert_eq!(mode("report.json") & 0o7777, 0o600);
        assert_eq!(mode("etcd.prom") & 0o7777, 0o644);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_is_neither_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("something");
        let catalogue = br#"{"format": 1, "records": []}"#;
        let as_report = Telling {
            report: Some(path.clone()),
            metrics: None,
        };
        let as_metrics = Telling {
            report: None,
            metrics: Some(path.clone()),
        };
        let prom = metrics::render(&report());
        let json = report().json().unwrap();
        for (telling, there) in [
            (&as_report, &b"\x28\xb5\x2f\xfd archive"[..]),
            (&as_report, catalogue),
            (&as_report, prom.as_bytes()),
            (&as_report, &json[..json.len() / 2]),
            (&as_report, b"{}"),
            (&as_metrics, catalogue),
            (&as_metrics, &json),
            (&as_metrics, b"# HELP node_load1 1m load average.\n"),
        ] {
            std::fs::write(&path, there).unwrap();
            for result in [
                telling.refuse_foreign(),
                telling.metrics(&report()).and(telling.report(&report())),
            ] {
                let error = result.unwrap_err();
                assert_eq!(error.kind(), Kind::Refused, "{error}");
                assert!(error.to_string().contains("and stays"), "{error}");
            }
            assert_eq!(std::fs::read(&path).unwrap(), there);
        }
    }

    #[test]
    fn what_is_no_file_has_another_hint() {
        let telling = |path: &str| Telling {
            report: Some(path.into()),
            metrics: None,
        };
        for path in ["/dev/stdout", "/dev/null"] {
            let error = telling(path).refuse_foreign().unwrap_err();
            assert_eq!(error.kind(), Kind::Refused);
            assert!(error.hint_text().unwrap().contains("-w json"), "{error}");
        }
        let lock = telling("backups/.etcd-rescue.lock")
            .refuse_foreign()
            .unwrap_err();
        assert_eq!(lock.kind(), Kind::Refused);
        let nowhere = telling("/nowhere/report.json");
        nowhere.refuse_foreign().unwrap();
        let nowhere = nowhere.report(&report()).unwrap_err();
        assert_eq!(nowhere.kind(), Kind::Failed);
        assert!(
            nowhere
                .to_string()
                .starts_with("--report /nowhere/report.json: ")
        );
    }
}
