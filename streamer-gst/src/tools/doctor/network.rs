//! Ports, addresses and the signaling server.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use sip::driver::local_ip_towards;
use sip::header::NameAddr;
use sip::uri::Uri;
use sip::{Endpoint, Method, Request};

use super::finding::Finding;
use super::ports::{self, Port, Protocol};

/// A signaling server on any network one would use answers within this.
const LIMIT: Duration = Duration::from_secs(1);

/// Port and server of SIP.
pub(super) fn signaling(address: SocketAddr) -> Vec<Finding> {
    let reached = ask(address);
    let mut findings = Vec::new();
    // On another machine the port is not ours to take.
    if address.ip().is_loopback() {
        // It has to be free for both.
        let port = match ports::look(Protocol::Udp, address) {
            Port::Free => ports::look(Protocol::Tcp, address),
            other => other,
        };
        findings.push(of_sip_port(address, &port, reached.is_ok()));
    }
    findings.push(match reached {
        Ok(time) => Finding::ok(
            "signaling",
            format!("{address} answers OPTIONS in {} ms", time.as_millis()),
        ),
        Err(why) if address.ip().is_loopback() => Finding::warning(
            "signaling",
            format!("{address}: {why}"),
            "./dev run brings its own; for the programs apart start signaling first",
        ),
        Err(why) => Finding::problem(
            "signaling",
            format!("{address}: {why}"),
            "does signaling run there, with --listen on that address, and no firewall before it?",
        ),
    });
    findings
}

fn of_sip_port(address: SocketAddr, port: &Port, answers: bool) -> Finding {
    let subject = "port of SIP";
    match port {
        Port::Free => Finding::ok(subject, format!("{address} (UDP and TCP) is free")),
        Port::Taken(owner) if answers => Finding::ok(
            subject,
            format!("{address} (UDP and TCP) is in use{}", by(owner)),
        ),
        Port::Taken(owner) => Finding::problem(
            subject,
            format!(
                "{address} (UDP and TCP) is in use{}, which does not speak SIP",
                by(owner)
            ),
            "end that program, or take another port: --signaling 127.0.0.1:5061",
        ),
        Port::Refused(why) => Finding::problem(
            subject,
            format!("{address} (UDP and TCP): {why}"),
            "give an address of this machine: --signaling 127.0.0.1:5060",
        ),
    }
}

/// Port of the pages.
pub(super) fn http(address: SocketAddr) -> Finding {
    of_http_port(address, &ports::look(Protocol::Tcp, address))
}

fn of_http_port(address: SocketAddr, port: &Port) -> Finding {
    let subject = "port of HTTP";
    match port {
        Port::Free => Finding::ok(subject, format!("{address} is free")),
        Port::Taken(owner) => {
            let evidence = format!("{address} is in use{}", by(owner));
            let ours = |(name, _): &(String, u32)| ["front", "rusticast"].contains(&name.as_str());
            match owner.as_ref().is_some_and(ours) {
                true => Finding::ok(subject, evidence),
                false => Finding::problem(
                    subject,
                    evidence,
                    "end that program, or take another port: --http 127.0.0.1:8081",
                ),
            }
        }
        Port::Refused(why) => Finding::problem(
            subject,
            format!("{address}: {why}"),
            "give an address of this machine and a port above 1023: --http 127.0.0.1:8080",
        ),
    }
}

/// ` by signaling (process 42)`.
fn by(owner: &Option<(String, u32)>) -> String {
    match owner {
        Some((name, process)) => format!(" by {name} (process {process})"),
        None => " by another user's program".to_owned(),
    }
}

/// The addresses that browsers are offered.
pub(super) fn addresses(offered: Result<Vec<IpAddr>, String>) -> Finding {
    let subject = "addresses";
    let cure = "no browser can connect over loopback: bring a network up (ip addr shows what there \
                is), or add an address: sudo ip link add media0 type dummy, then sudo ip addr add \
                10.99.0.1/24 dev media0, then sudo ip link set media0 up";
    match offered {
        Ok(addresses) if addresses.iter().any(|address| !address.is_loopback()) => {
            let addresses: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
            Finding::ok(
                subject,
                format!("media is offered on {}", addresses.join(", ")),
            )
        }
        Ok(_) => Finding::problem(subject, "media is offered on loopback only", cure),
        Err(why) => Finding::problem(subject, format!("no offer can be answered: {why}"), cure),
    }
}

/// Asks a server for its options, and says how long the answer took.
fn ask(server: SocketAddr) -> Result<Duration, String> {
    let failed = |error: std::io::Error| error.to_string();
    let ip = local_ip_towards(server).map_err(failed)?;
    let socket = UdpSocket::bind((ip, 0)).map_err(failed)?;
    // Then the system tells at once where nobody listens.
    socket.connect(server).map_err(failed)?;
    let local = socket.local_addr().map_err(failed)?;
    let random = || RandomState::new().hash_one(0);
    let mut endpoint = Endpoint::new(sip::endpoint::Config::new(local), random);
    let from = NameAddr::new(Uri::at(Some("doctor"), local)).with_tag(&endpoint.generate_tag());
    let to = NameAddr::new(Uri::at(None, server));
    let call = endpoint.generate_call_id();
    let options = Request::new(Method::Options, to.uri.clone(), from, to, &call, 1);
    let start = Instant::now();
    endpoint.request(start, server, options);
    let mut datagram = vec![0; sip::endpoint::MAX_DATAGRAM];
    loop {
        endpoint.handle_timeout(Instant::now());
        while let Some(transmit) = endpoint.poll_transmit() {
            // Refusals of an earlier datagram come here; the next read tells as well.
            let _ = socket.send(&transmit.payload);
        }
        let left = LIMIT.saturating_sub(start.elapsed());
        if left.is_zero() {
            return Err(format!("no answer to OPTIONS within {} s", LIMIT.as_secs()));
        }
        let again = endpoint.poll_timeout().map_or(left, |at| {
            at.saturating_duration_since(Instant::now()).min(left)
        });
        let again = again.max(Duration::from_millis(1));
        socket.set_read_timeout(Some(again)).map_err(failed)?;
        match socket.recv(&mut datagram) {
            Ok(length) => {
                let data = datagram[..length].to_vec().into();
                endpoint.handle_datagram(Instant::now(), server, data);
                while let Some(event) = endpoint.poll_event() {
                    if let sip::endpoint::Event::Response { .. } = event {
                        return Ok(start.elapsed());
                    }
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                return Err("nobody listens there".to_owned());
            }
            // The time is over.
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;

    fn taken(name: &str) -> Port {
        Port::Taken(Some((name.to_owned(), 42)))
    }

    #[test]
    fn a_port_is_judged_by_who_has_it() {
        let address = SocketAddr::from(([127, 0, 0, 1], 8080));
        assert_eq!(of_http_port(address, &Port::Free).verdict, Verdict::Ok);
        assert_eq!(of_http_port(address, &taken("front")).verdict, Verdict::Ok);
        let other = of_http_port(address, &taken("nginx"));
        assert_eq!(other.verdict, Verdict::Problem);
        assert_eq!(
            other.evidence,
            "127.0.0.1:8080 is in use by nginx (process 42)"
        );
        assert_eq!(of_sip_port(address, &taken("x"), true).verdict, Verdict::Ok);
        let deaf = of_sip_port(address, &Port::Taken(None), false);
        assert_eq!(deaf.verdict, Verdict::Problem);
        let refused = of_http_port(address, &Port::Refused("not ours".into()));
        assert!(refused.cure.unwrap().contains("--http"));
    }

    #[test]
    fn loopback_alone_is_a_problem() {
        let loopback: IpAddr = [127, 0, 0, 1].into();
        let outer: IpAddr = [192, 0, 2, 7].into();
        assert_eq!(addresses(Ok(vec![loopback, outer])).verdict, Verdict::Ok);
        for none in [Ok(vec![loopback]), Ok(Vec::new()), Err("none".to_owned())] {
            let finding = addresses(none);
            assert_eq!(finding.verdict, Verdict::Problem);
            assert!(finding.cure.unwrap().contains("no browser can connect"));
        }
    }

    #[test]
    fn a_server_that_is_not_there_is_told_at_once() {
        let gone = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = gone.local_addr().unwrap();
        drop(gone);
        assert_eq!(ask(address), Err("nobody listens there".to_owned()));
    }
}
