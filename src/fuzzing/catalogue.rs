//! The fuzz body for the catalogue of a directory of backups.

use super::holds;
use crate::catalogue::records::Catalogue;

/// The file of a catalogue: what is read is written and read again as the same, and what cannot be read says so
/// and proves nothing.
///
/// # Panics
/// When something that must hold does not.
pub fn fuzz_catalogue(data: &[u8]) {
    let read = Catalogue::decode(data);
    let bytes = holds("a catalogue is written", read.encode());
    let again = Catalogue::decode(&bytes);
    if read.is_readable() {
        assert_eq!(again, read);
        assert_eq!(holds("it is written again", again.encode()), bytes);
    } else {
        assert!(read.problem().is_some());
        assert_eq!(again, Catalogue::default());
    }
}
