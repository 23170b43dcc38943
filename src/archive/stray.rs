//! What is in the file and is not of the archive: `zstd -d` reads from front to back, and stops at it or
//! gives it too.

use super::frame::{Header, Headers};
use super::table::{self, Frame};
use crate::error::Result;
use crate::io::Image;
use crate::limits::Limits;
use crate::observe::Observer;
use crate::report::{Place, Report};

/// Walks over the file as `zstd -d` does. `frames` are those of the archive; every stretch that is no
/// frame is a warning, and so are data frames that are not among them.
pub(super) fn find(
    image: &Image,
    frames: &[Frame],
    limits: &Limits,
    observer: &dyn Observer,
    report: &mut Report,
) -> Result<()> {
    let mut headers = Headers::new(image);
    let mut own = frames.iter().peekable();
    let mut others = Others::default();
    let mut at = 0;
    while at < image.len() {
        observer.check()?;
        let header = headers.header(at)?;
        let len = match header {
            Ok(header) => headers.len(at, header)?.ok(),
            Err(_) => None,
        };
        at = match (header, len) {
            (Ok(header), Some(len)) => {
                if own.next_if(|frame| is(frame, header, len)).is_some() {
                    others.tell(report);
                } else if let Header::Data { content, .. } = header {
                    others.add(at, content);
                }
                at.saturating_add(len)
            }
            (header, _) => {
                let end = table::resync(&mut headers, at, limits)?.unwrap_or(image.len());
                let says = match header {
                    // What `zstd` 1.5 prints.
                    Err(_) if image.len() - at < 4 => ": unknown header",
                    Err(_) => ": unsupported format",
                    Ok(_) => "",
                };
                let bytes = end - at;
                let what = format!(
                    "{bytes} bytes that are no zstd frame; zstd -t and zstd -d fail on them{says}"
                );
                report.warning(Place::offset(at), what);
                end
            }
        };
    }
    others.tell(report);
    Ok(())
}

/// Whether a frame in the file is this one of the archive.
fn is(frame: &Frame, header: Header, len: u64) -> bool {
    let Header::Data { content, .. } = header else {
        return false;
    };
    len == u64::from(frame.compressed)
        && content.is_none_or(|content| content == u64::from(frame.len))
}

/// Data frames in a row that are not of the archive.
#[derive(Default)]
struct Others {
    offset: u64,
    frames: u64,
    bytes: u64,
}

impl Others {
    fn add(&mut self, offset: u64, content: Option<u64>) {
        if self.frames == 0 {
            self.offset = offset;
        }
        self.frames += 1;
        self.bytes = self.bytes.saturating_add(content.unwrap_or(0));
    }

    fn tell(&mut self, report: &mut Report) {
        let Others {
            offset,
            frames,
            bytes,
        } = std::mem::take(self);
        if frames > 0 {
            let frames = match frames {
                1 => "a frame that is".into(),
                _ => format!("{frames} frames that are"),
            };
            let what = format!("{frames} not of this archive: zstd -d gives {bytes} bytes more");
            report.warning(Place::offset(offset), what);
        }
    }
}
