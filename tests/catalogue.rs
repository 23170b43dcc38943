//! A directory of backups over the years: what retention decides against real restic, what monitoring gets
//! to read, and that nothing that can happen takes the last proved backup away.

mod locks;
mod metrics;
mod model;
mod oracle;
mod scan;

/// Small numbers without end, the same ones for the same seed.
struct Random(u64);

impl Random {
    /// Another seed for each run. A test that fails prints it; `CATALOGUE_SEED` brings it back.
    fn new() -> Random {
        let chosen = std::env::var("CATALOGUE_SEED").ok();
        let seed = chosen.map_or_else(
            || jiff::Timestamp::now().as_nanosecond() as u64,
            |seed| seed.parse().expect("CATALOGUE_SEED is a number"),
        );
        println!("CATALOGUE_SEED={seed}");
        Random(seed)
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 to `end`, `end` excluded.
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// True once in `of`.
    fn once_in(&mut self, of: u64) -> bool {
        self.below(of) == 0
    }
}
