//! A WHEP server on nothing but webrtcbin, that makes, connects and drops a viewer as the streamer
//! does: what it does not give back is webrtcbin's. It runs until it is ended; a viewer goes when it
//! is deleted. Its argument is the local address of media.

mod source;
mod viewer;

use std::collections::HashMap;
use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use bench::Result;
use gstreamer as gst;

use crate::source::Source;
use crate::viewer::Viewer;

/// For a request.
const PATIENCE: Duration = Duration::from_secs(10);
/// A request has no more bytes.
const LONGEST: u64 = 1 << 17;

fn main() -> Result<()> {
    let address = env::args().nth(1).ok_or("which address?")?;
    gst::init()?;
    let source = Source::start()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("bare ready: http://{}", listener.local_addr()?);
    let (mut viewers, mut last) = (HashMap::new(), 0_u64);
    for mut connection in listener.incoming().flatten() {
        let request = read(&connection)?;
        let answer = match request {
            Request::Offer(offer) => {
                last += 1;
                let path = format!("{PATH}/{last}");
                let viewer = Viewer::open(&offer, &address)?;
                source.feed(&viewer);
                let head = format!("201 Created\r\nLocation: {path}");
                let answer = format!("HTTP/1.0 {head}\r\n\r\n{}", viewer.answer);
                viewers.insert(path, viewer);
                answer
            }
            Request::End(path) => {
                let status = match viewers.remove(&path) {
                    Some(viewer) => {
                        source.leave(&viewer);
                        "200 OK"
                    }
                    None => "404 Not Found",
                };
                format!("HTTP/1.0 {status}\r\n\r\n")
            }
        };
        // Who has gone needs no answer.
        let _ = connection.write_all(answer.as_bytes());
    }
    Ok(())
}

/// Where offers are posted.
const PATH: &str = "/whep/bench";

enum Request {
    /// POST of this SDP.
    Offer(String),
    /// DELETE of this path.
    End(String),
}

fn read(connection: &TcpStream) -> Result<Request> {
    connection.set_read_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(connection.take(LONGEST));
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let mut words = lines.first().map_or("", |line| line).split(' ');
    match (words.next(), words.next()) {
        (Some("POST"), Some(PATH)) => {
            let length = lines.iter().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                let named = name.eq_ignore_ascii_case("content-length");
                named.then(|| value.trim().parse::<usize>().ok())?
            });
            let mut body = vec![0; length.ok_or("an offer without a length")?];
            reader.read_exact(&mut body)?;
            Ok(Request::Offer(String::from_utf8(body)?))
        }
        (Some("DELETE"), Some(path)) => Ok(Request::End(path.to_owned())),
        other => Err(format!("a request of no use: {other:?}").into()),
    }
}
