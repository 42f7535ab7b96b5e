//! Where a bench runs: what the environment tells it, and the network.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::PathBuf;
use std::{env, fs};

use crate::Result;

/// The directory that an environment variable names, made where it is not there.
pub fn directory(variable: &str) -> Result<PathBuf> {
    let path = env::var_os(variable).ok_or_else(|| format!("{variable} is not set"))?;
    // Programs are started elsewhere.
    fs::create_dir_all(&path)?;
    Ok(fs::canonicalize(path)?)
}

/// The address that leads out of here: WebRTC ignores loopback. Nothing is sent to find it.
pub fn address() -> Result<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
    Ok(socket.local_addr()?.ip())
}
