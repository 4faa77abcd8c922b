//! The command line.

use clap::Parser;
use meshlink_relay::{Config, ConfigError, Origin, TlsIdentity, Tokens};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// A WebSocket hub for MeshLink nodes and for JSON clients.
///
/// Clients of one topic hear each other; nothing is stored. Try it with `websocat ws://127.0.0.1:8080`.
/// GET /healthz and /metrics tell how it is.
#[derive(Debug, Parser)]
#[command(name = "meshlink-relay", version)]
pub(crate) struct Args {
    /// Where to listen; 0.0.0.0:8080 opens the relay to the local network, port 0 takes a free port
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8080", value_parser = listen)]
    listen: SocketAddr,

    /// Let in only who has a token of this file (one a line); may be given several times
    #[arg(long, value_name = "F")]
    token_file: Vec<PathBuf>,

    /// Certificate chain in PEM form: speak TLS (wss://)
    #[arg(long, value_name = "F", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// Private key of the certificate in PEM form
    #[arg(long, value_name = "F", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// Clients in all; further ones get 503
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    max_clients: u32,

    /// Messages per second of one client; further ones are dropped with an ERROR; 0: no limit
    #[arg(long, value_name = "MESSAGES_PER_S", default_value_t = 200)]
    max_rate: u32,

    /// Connections of one IPv4 address or IPv6 /64, loopback included [default: a quarter of --max-clients,
    /// loopback not counted]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_per_address: Option<u32>,

    /// Let pages of this origin connect, besides those of a loopback host and of the relay's own; may be given
    /// several times
    #[arg(long, value_name = "O")]
    allow_origin: Vec<Origin>,
}

impl Args {
    /// Reads the files the command line names: the settings, and what is worth a warning.
    pub(crate) fn into_config(self) -> Result<(Config, Vec<String>), ConfigError> {
        let mut tokens = Tokens::default();
        let mut warnings = Vec::new();
        for file in &self.token_file {
            warnings.extend(tokens.add_file(file)?);
        }
        let mut tls = None;
        if let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) {
            let (identity, warned) = TlsIdentity::from_files(certificate, key)?;
            tls = Some(identity);
            warnings.extend(warned);
        }
        let config = Config {
            listen: self.listen,
            tokens,
            tls,
            max_clients: self.max_clients as usize,
            max_rate: self.max_rate,
            max_per_address: self.max_per_address.map(|n| n as usize),
            allow_origins: self.allow_origin,
        };
        Ok((config, warnings))
    }
}

fn listen(text: &str) -> Result<SocketAddr, String> {
    if let Some(port) = text.strip_prefix("localhost:").and_then(|port| port.parse().ok()) {
        return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }
    text.parse().map_err(|_| {
        "give an address and a port, as in 127.0.0.1:8080, 0.0.0.0:8080 or [::1]:8080".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Args, clap::Error> {
        Args::try_parse_from(std::iter::once("meshlink-relay").chain(args.iter().copied()))
    }

    #[test]
    fn without_arguments_the_config_is_the_default_one() {
        let (config, warnings) = parsed(&[]).unwrap().into_config().unwrap();
        let default = Config::default();
        assert_eq!(config.listen, default.listen);
        assert_eq!((config.max_clients, config.max_rate), (default.max_clients, default.max_rate));
        assert_eq!(config.max_per_address, default.max_per_address);
        assert!(config.tokens.is_empty() && config.tls.is_none() && config.allow_origins.is_empty());
        assert!(warnings.is_empty());
    }

    /// `MESHLINK_UPDATE=1 cargo test -p meshlink-relay args` writes it anew.
    #[test]
    fn the_man_page_is_that_of_these_arguments() {
        use clap::CommandFactory as _;
        let mut page = Vec::new();
        clap_mangen::Man::new(Args::command()).section("8").render(&mut page).unwrap();
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/man/meshlink-relay.8");
        if std::env::var_os("MESHLINK_UPDATE").is_some() {
            std::fs::write(&path, &page).unwrap();
        }
        let committed = std::fs::read(&path).unwrap_or_default();
        assert!(committed == page, "docs/man/meshlink-relay.8 is out of date: run with MESHLINK_UPDATE=1");
    }

    #[test]
    fn an_address_needs_a_port() {
        assert_eq!(parsed(&["--listen", "localhost:0"]).unwrap().listen.to_string(), "127.0.0.1:0");
        assert_eq!(parsed(&["--listen", "[::]:80"]).unwrap().listen.to_string(), "[::]:80");
        for bad in ["8080", "127.0.0.1", "example.org:80", ":80", "127.0.0.1:99999"] {
            assert!(
                parsed(&["--listen", bad]).unwrap_err().to_string().contains("as in 127.0.0.1:8080"),
                "{bad}"
            );
        }
    }

    #[test]
    fn a_certificate_needs_a_key_and_an_origin_a_scheme() {
        assert!(parsed(&["--tls-cert", "c.pem"]).is_err());
        assert!(
            parsed(&["--allow-origin", "mesh.example"]).unwrap_err().to_string().contains("scheme://host")
        );
        assert!(parsed(&["--max-clients", "0"]).is_err());
    }
}
