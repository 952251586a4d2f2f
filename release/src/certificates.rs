//! Mozilla's certificate authorities, in the version of `Cargo.lock`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use webpki_root_certs::TLS_SERVER_ROOT_CERTS;

/// All authorities, as a PEM file.
pub(crate) fn pem() -> String {
    TLS_SERVER_ROOT_CERTS.iter().map(|certificate| block(certificate)).collect()
}

fn block(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: String = text
        .as_bytes()
        .chunks(64)
        .flat_map(|line| line.iter().copied().map(char::from).chain(['\n']))
        .collect();
    format!("-----BEGIN CERTIFICATE-----\n{lines}-----END CERTIFICATE-----\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pem_has_a_block_for_each_certificate() {
        let pem = pem();
        assert!(pem.lines().all(|line| line.len() <= 64));
        let blocks = pem.split_inclusive("-----END CERTIFICATE-----\n");
        let decoded = blocks.map(|block| {
            let lines: String = block.lines().filter(|line| !line.starts_with('-')).collect();
            STANDARD.decode(lines).unwrap()
        });
        assert!(decoded.eq(TLS_SERVER_ROOT_CERTS.iter().map(|certificate| certificate.to_vec())));
        assert!(TLS_SERVER_ROOT_CERTS.len() > 50);
    }
}
