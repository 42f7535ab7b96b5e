//! As much of HTTP as joining takes: one blocking request on a connection of its own. Version 1.0,
//! in which an answer comes in one piece and ends with its connection.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use crate::Result;

/// For any answer; a busy server is slow, not gone.
const LIMIT: Duration = Duration::from_secs(60);

/// A successful response.
#[derive(Debug)]
pub struct Response {
    /// Its `Location`, if it has one.
    pub location: Option<String>,
    /// Its body.
    pub body: String,
}

/// Posts `body`.
pub fn post(to: SocketAddr, path: &str, content: &str, body: &str) -> Result<Response> {
    let head = format!(
        "Content-Type: {content}\r\nContent-Length: {}\r\n",
        body.len()
    );
    request(to, &format!("POST {path}"), &format!("{head}\r\n{body}"))
}

/// Posts and gets JSON.
pub fn post_json(to: SocketAddr, path: &str, body: &Value) -> Result<Value> {
    let response = post(to, path, "application/json", &body.to_string())?;
    Ok(serde_json::from_str(&response.body)?)
}

/// Gets JSON.
pub fn get_json(to: SocketAddr, path: &str) -> Result<Value> {
    let response = request(to, &format!("GET {path}"), "\r\n")?;
    Ok(serde_json::from_str(&response.body)?)
}

/// Deletes what is at `path`.
pub fn delete(to: SocketAddr, path: &str) -> Result<()> {
    request(to, &format!("DELETE {path}"), "\r\n").map(drop)
}

fn request(to: SocketAddr, what: &str, rest: &str) -> Result<Response> {
    let mut connection = TcpStream::connect(to)?;
    connection.set_read_timeout(Some(LIMIT))?;
    connection.set_nodelay(true)?;
    let text = format!("{what} HTTP/1.0\r\nHost: {to}\r\n{rest}");
    connection.write_all(text.as_bytes())?;
    let mut response = String::new();
    connection.read_to_string(&mut response)?;
    let (head, body) = response.split_once("\r\n\r\n").unwrap_or((&response, ""));
    let status = head.split(' ').nth(1).unwrap_or_default();
    if !status.starts_with('2') {
        return Err(format!("{what}: {head}\n{body}").into());
    }
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    let mut locations = fields
        .filter(|(name, _)| name.eq_ignore_ascii_case("location"))
        .map(|(_, value)| value.trim().to_owned());
    Ok(Response {
        location: locations.next(),
        body: body.to_owned(),
    })
}
