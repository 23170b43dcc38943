//! The few facts about a certificate that rustls keeps to itself, and that explain why one was refused. Nothing is
//! trusted because of them: they go into messages, and into the comparison of our own certificate with its key.
//!
//! Fields and tags are those of RFC 5280, 4.1 and RFC 8017, A.1.

use crate::bytes::Cursor;

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;
/// `[0] EXPLICIT`, where a version is given at all.
const VERSION: u8 = 0xa0;
/// rsaEncryption, as an object identifier in DER.
const RSA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01";

/// What a certificate says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Certificate<'a> {
    /// 1, 2 or 3.
    pub version: u8,
    /// The AlgorithmIdentifier of its signature, without tag and length.
    pub signature: &'a [u8],
    /// Who signed it: a Name, without tag and length.
    pub issuer: &'a [u8],
    /// Who it is: the same.
    pub subject: &'a [u8],
    /// Its key.
    pub key: PublicKey<'a>,
}

/// A SubjectPublicKeyInfo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey<'a> {
    algorithm: &'a [u8],
    bits: &'a [u8],
}

impl<'a> Certificate<'a> {
    /// Reads one. `None` for what is no certificate.
    pub fn read(der: &'a [u8]) -> Option<Certificate<'a>> {
        let mut signed = Cursor::new(element(&mut Cursor::new(der), SEQUENCE)?);
        let mut fields = Cursor::new(element(&mut signed, SEQUENCE)?);
        let version = match fields.rest().first()? {
            &VERSION => {
                let mut version = Cursor::new(element(&mut fields, VERSION)?);
                element(&mut version, INTEGER)?.first()?.checked_add(1)?
            }
            _ => 1,
        };
        let _serial = element(&mut fields, INTEGER)?;
        let signature = element(&mut fields, SEQUENCE)?;
        let issuer = element(&mut fields, SEQUENCE)?;
        let _validity = element(&mut fields, SEQUENCE)?;
        Some(Certificate {
            version,
            signature,
            issuer,
            subject: element(&mut fields, SEQUENCE)?,
            key: PublicKey::read(fields.rest())?,
        })
    }
}

impl<'a> PublicKey<'a> {
    /// Reads one from the beginning of `der`.
    pub fn read(der: &'a [u8]) -> Option<PublicKey<'a>> {
        let mut info = Cursor::new(element(&mut Cursor::new(der), SEQUENCE)?);
        let algorithm = element(&mut info, SEQUENCE)?;
        // The first byte counts the bits at the end that mean nothing: none, in a key.
        let bits = element(&mut info, BIT_STRING)?.strip_prefix(&[0])?;
        Some(PublicKey { algorithm, bits })
    }

    /// How long an RSA key is.
    pub fn rsa_bits(&self) -> Option<u64> {
        if !self.algorithm.starts_with(RSA) {
            return None;
        }
        let mut key = Cursor::new(element(&mut Cursor::new(self.bits), SEQUENCE)?);
        let modulus = element(&mut key, INTEGER)?;
        let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
        let (_, modulus) = modulus.split_at_checked(zeros)?;
        let unused = u64::from(modulus.first()?.leading_zeros());
        Some(modulus.len() as u64 * 8 - unused)
    }

    /// Whether this is another key for certain: one that is the same may be written in another way.
    pub fn differs_from(&self, other: &PublicKey) -> bool {
        // A point on a curve begins with 4, or is compressed.
        let compressed = |key: &PublicKey| matches!(key.bits.first(), Some(2 | 3));
        self.bits != other.bits && compressed(self) == compressed(other)
    }
}

/// The contents of the next element, if it has this tag.
fn element<'a>(from: &mut Cursor<'a>, tag: u8) -> Option<&'a [u8]> {
    if from.u8().ok()? != tag {
        return None;
    }
    let length = match from.u8().ok()? {
        short @ 0..=0x7f => usize::from(short),
        long @ 0x81..=0x83 => {
            let bytes = from.take(usize::from(long & 0x7f)).ok()?;
            let digit = |sum: usize, byte: &u8| (sum << 8) | usize::from(*byte);
            bytes.iter().fold(0, digit)
        }
        _ => return None,
    };
    from.take(length).ok()
}

/// An object identifier at the beginning of `der`, in dots.
pub fn dotted(der: &[u8]) -> Option<String> {
    let mut arcs = Vec::new();
    let mut arc = 0_u64;
    for byte in element(&mut Cursor::new(der), 0x06)? {
        arc = arc.checked_mul(128)? + u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            arcs.push(std::mem::take(&mut arc));
        }
    }
    // The first two share a number.
    let both = *arcs.first()?;
    let first = (both / 40).min(2);
    let mut text = format!("{first}.{}", both - first * 40);
    for arc in arcs.iter().skip(1) {
        text += &format!(".{arc}");
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, PublicKeyData};

    fn certificate(algorithm: &'static rcgen::SignatureAlgorithm) -> (Vec<u8>, KeyPair) {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let params = CertificateParams::new(vec!["localhost".into()]).unwrap();
        (params.self_signed(&key).unwrap().der().to_vec(), key)
    }

    #[test]
    fn what_rcgen_wrote_is_read() {
        let (der, key) = certificate(&rcgen::PKCS_ECDSA_P256_SHA256);
        let read = Certificate::read(&der).unwrap();
        assert_eq!(read.version, 3);
        assert_eq!(read.issuer, read.subject);
        assert_eq!(
            dotted(read.signature).as_deref(),
            Some("1.2.840.10045.4.3.2")
        );
        assert_eq!(read.key.rsa_bits(), None);
        let spki = key.subject_public_key_info();
        assert!(!read.key.differs_from(&PublicKey::read(&spki).unwrap()));
        let (other, _) = certificate(&rcgen::PKCS_ECDSA_P256_SHA256);
        let other = Certificate::read(&other).unwrap();
        assert!(read.key.differs_from(&other.key));

        let (rsa, _) = certificate(&rcgen::PKCS_RSA_SHA256);
        let rsa = Certificate::read(&rsa).unwrap();
        assert_eq!(rsa.key.rsa_bits(), Some(2048));
    }

    #[test]
    fn what_is_cut_or_garbled_is_no_certificate_and_no_panic() {
        let (der, _) = certificate(&rcgen::PKCS_RSA_SHA256);
        for length in 0..der.len() {
            assert_eq!(Certificate::read(&der[..length]), None);
        }
        for at in 0..der.len() {
            for byte in [0, 0x7f, 0x80, 0x84, 0xff] {
                let mut garbled = der.clone();
                garbled[at] = byte;
                if let Some(read) = Certificate::read(&garbled) {
                    let _ = (read.key.rsa_bits(), dotted(read.signature));
                }
            }
        }
    }
}
