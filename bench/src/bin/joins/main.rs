//! `./dev bench joins`: what the streamer keeps of viewers that are gone, beside a bare webrtcbin
//! that made, connected and dropped as many in the same run. Each viewer joins, gets picture and
//! sound, and leaves; one of five vanishes without a word. The argument is how many times, 1000
//! without any. After the word "valgrind" it is the streamer under valgrind that they join, 10 times
//! without a number. Our programs are taken from `$RUSTICAST_PROGRAMS`, logs go to
//! `$RUSTICAST_BENCH`.

mod growth;
mod server;
mod valgrind;
mod visitor;

use std::env;
use std::fs;
use std::io::Write;
use std::time::Instant;

use bench::card::CARD;
use bench::process::Usage;
use bench::{Result, surroundings};

use crate::growth::Growth;
use crate::server::Server;
use crate::visitor::Visitors;

/// Joins when their number is not given.
const JOINS: u32 = 1000;
const JOINS_UNDER_VALGRIND: u32 = 10;
/// What is loaded once is loaded after so many.
const WARM_UP: u32 = 100;
/// Joins after which all viewers have to be gone, and memory is looked at.
const ROUND: u32 = 50;
/// The first of a round vanish, so that they are noticed while the others come and go.
const VANISHING: u32 = ROUND / 5;
/// Bytes per join that the streamer may grow by beyond what webrtcbin alone does.
const MOST_GROWTH: f64 = 1000.0;

/// A server, and what was seen of it.
struct Side {
    server: Server,
    growth: Growth,
    /// After the warm-up and at the end.
    at_rest: Vec<Usage>,
}

fn main() -> Result<()> {
    let programs = surroundings::directory("RUSTICAST_PROGRAMS")?;
    let directory = surroundings::directory("RUSTICAST_BENCH")?;
    let address = surroundings::address()?;
    let mut arguments = env::args().skip(1).peekable();
    let valgrind = arguments.next_if_eq("valgrind").is_some();
    let joins = arguments.next().map(|number| number.parse::<u32>());
    let joins = joins
        .transpose()
        .map_err(|error| format!("how many joins? {error}"))?;
    if valgrind {
        let joins = joins.unwrap_or(JOINS_UNDER_VALGRIND);
        let found = valgrind::run(joins, &programs, &directory, address)?;
        return tell(&[("joins and leaves under valgrind".to_owned(), found)]);
    }
    let joins = joins.unwrap_or(JOINS);
    if joins < WARM_UP + 2 * ROUND || joins % ROUND > 0 {
        return Err(format!("{WARM_UP} joins are for warm-up, then they come by {ROUND}").into());
    }
    let servers = [
        Server::streamer(&[], &programs, &directory, address, CARD)?,
        Server::bare(&directory, address)?,
    ];
    let mut sides = servers.map(|server| Side {
        server,
        growth: Growth::default(),
        at_rest: Vec::new(),
    });
    let mut visitors = Visitors::new(address)?;
    let start = Instant::now();
    for join in 0..joins {
        for side in &mut sides {
            side.visit(&mut visitors, join)?;
            let done = join + 1;
            if done % ROUND == 0 {
                side.look(done, done == WARM_UP || done == joins)?;
            }
        }
    }
    let took = start.elapsed().as_secs();
    tell(&figures(&sides, &format!("{joins} each, in {took} s")))?;
    judge(&sides)
}

/// Prints figures, and keeps them where figures are kept.
fn tell(figures: &[(String, String)]) -> Result<()> {
    for (what, figure) in figures {
        println!("{what}: {figure}");
    }
    if let Some(file) = env::var_os("RUSTICAST_FIGURES") {
        let mut file = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(file)?;
        for (what, figure) in figures {
            writeln!(file, "{what} | {figure}")?;
        }
    }
    Ok(())
}

impl Side {
    fn visit(&mut self, visitors: &mut Visitors, join: u32) -> Result<()> {
        self.server.is_empty()?;
        let visitor = visitors.join(self.server.http);
        let visitor = visitor.map_err(|error| format!("{}: {error}", self.server.name))?;
        match join % ROUND < VANISHING {
            true => self.server.lose(visitor),
            false => self.server.end(&visitor)?,
        }
        Ok(())
    }

    /// Notes what the server uses when nobody is there.
    fn look(&mut self, done: u32, keep: bool) -> Result<()> {
        let usage = self.server.rest(self.at_rest.first())?;
        let (name, kilobytes) = (self.server.name, usage.memory / 1000);
        eprintln!("joins: {done}: {name} has {kilobytes} kB");
        if done >= WARM_UP {
            self.growth.note(done.into(), usage.memory as f64);
        }
        if keep {
            self.at_rest.push(usage);
        }
        Ok(())
    }
}

/// What the streamer keeps beyond a bare webrtcbin, in bytes per join.
fn beyond([ours, bare]: &[Side; 2]) -> f64 {
    ours.growth.slope() - bare.growth.slope()
}

fn figures(sides: &[Side; 2], joins: &str) -> Vec<(String, String)> {
    let mut text = vec![(
        "joins and leaves, one of five without a word".to_owned(),
        joins.to_owned(),
    )];
    for side in sides {
        let name = side.server.name;
        let grown = (
            format!("memory that {name} keeps of a join"),
            side.growth.to_string(),
        );
        let [threads, descriptors] =
            [|u: &Usage| u.threads, |u: &Usage| u.descriptors].map(|field| {
                let counts: Vec<_> = side
                    .at_rest
                    .iter()
                    .map(|usage| field(usage).to_string())
                    .collect();
                counts.join(" and ")
            });
        let held = format!("{threads} threads, {descriptors} descriptors");
        text.extend([
            grown,
            (format!("{name} after {WARM_UP} joins and after all"), held),
        ]);
    }
    let most = MOST_GROWTH / 1e3;
    text.push((
        "memory kept of a join beyond a bare webrtcbin".to_owned(),
        format!("{:.2} kB (at most {most})", beyond(sides) / 1e3),
    ));
    text
}

/// An error when the streamer keeps what it should not.
fn judge(sides: &[Side; 2]) -> Result<()> {
    let beyond = beyond(sides);
    if beyond > MOST_GROWTH {
        return Err(format!("the streamer keeps {beyond:.0} bytes of each join").into());
    }
    let [before, after] = &sides[0].at_rest[..] else {
        return Err("the streamer was not looked at".into());
    };
    if after.threads > before.threads || after.descriptors > before.descriptors {
        return Err(
            format!("the streamer keeps threads or descriptors: {before:?}, {after:?}").into(),
        );
    }
    Ok(())
}
