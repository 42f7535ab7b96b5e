//! More offers than there are places: who came before is unharmed, who comes too late is told when
//! to come again, and what nobody completes goes by itself.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::browser::Kind;
use crate::harness::http::Response;
use crate::harness::page::watch;
use crate::harness::system::Setup;
use crate::harness::{Browser, System, eventually, in_time, measure, seconds, whep};

/// ICE and DTLS have 15 s from the answer; ending many at once takes a while.
const ALL_GONE: Duration = Duration::from_secs(15 + 5);
/// A full streamer asks to come again after 5 s, which is when places are given away; the page adds
/// up to a third, and then has to connect. Without that, places would be free after 15 s.
const LET_IN: Duration = Duration::from_secs(12);

/// Offers that nobody completes.
#[derive(Debug, Default)]
struct Flood {
    offered: AtomicU64,
    /// Those that were answered with SDP.
    taken: Mutex<Vec<Response>>,
    /// The most viewers that were seen at a time.
    held: AtomicU64,
}

impl Flood {
    /// So many clients offer as long as `more`, told how often so far, says so.
    fn run(&self, system: &System, clients: usize, more: impl Fn(u64) -> bool + Sync) {
        let offers = ["chromium", "firefox"].map(whep::recorded);
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let clients: Vec<_> = (0..clients)
                .map(|client| {
                    let (offer, more) = (&offers[client % offers.len()], &more);
                    scope.spawn(move || {
                        while more(self.offered.fetch_add(1, Ordering::Relaxed)) {
                            self.offer(system, offer);
                        }
                    })
                })
                .collect();
            let look = scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let viewers = system.streamer.number("/viewers");
                    self.held.fetch_max(viewers, Ordering::Relaxed);
                }
            });
            let ends: Vec<_> = clients.into_iter().map(|client| client.join()).collect();
            over.store(true, Ordering::Relaxed);
            look.join().unwrap();
            ends.into_iter().for_each(|end| end.unwrap());
        });
    }

    fn offer(&self, system: &System, offer: &[u8]) {
        let answer = whep::call(system.http(), "test", offer).expect("an answer");
        if answer.status == 201 {
            return self.taken.lock().unwrap().push(answer);
        }
        assert_eq!(answer.status, 503, "{}", answer.text());
        let after = answer.header("retry-after").map(str::parse::<u64>);
        assert!(matches!(after, Some(Ok(1..))), "{answer:?}");
    }
}

#[test]
fn half_open_offers_take_the_places_there_are_let_others_in_and_go_by_themselves() {
    let places = measure::times(8, 100);
    let count = measure::times(200, 10_000);
    let flags = ["--max-viewers", &places.to_string()];
    let system = Setup::new(&["test"]).streamer(&flags).start();
    let browser = Browser::launch(Kind::Chromium);
    let page = watch(&browser, &system, "test");
    page.plays(seconds(10));
    page.close();
    let before = system.at_rest().beside_a_browser();
    let threads = system.streamer.threads();

    let flood = Flood::default();
    let start = Instant::now();
    flood.run(&system, 4, |offered| offered < count);
    let took = start.elapsed();
    let held = flood.held.load(Ordering::Relaxed);
    let taken = flood.taken.lock().unwrap().len() as u64;
    assert_eq!(held, places, "viewers at a time");
    // Each place can be given away every five seconds.
    let most = places * (took.as_secs() / 5 + 1);
    assert!((places..=most).contains(&taken), "{taken} in {took:?}");

    let last = Instant::now();
    let page = watch(&browser, &system, "test");
    page.plays(LET_IN);
    let let_in = last.elapsed();
    assert!(let_in <= LET_IN, "{let_in:?}");
    let one = || system.streamer.number("/viewers") == 1;
    eventually("one viewer is left", ALL_GONE, one);
    let gone = last.elapsed();
    measure::note(
        "half-open offers to a streamer",
        &format!(
            "{count} in {:.0} s, at most {held} of {places} places at a time, {} refused with 503 \
             and Retry-After; all places free after {:.1} s",
            took.as_secs_f64(),
            count - taken,
            gone.as_secs_f64()
        ),
    );
    assert!(gone <= ALL_GONE, "{gone:?}");
    page.close();
    system.settles(&before);
    system.streamer.settles_at(threads);
    system.assert_quiet();
}

#[test]
fn half_open_offers_do_not_freeze_who_watches() {
    let flags = ["--max-viewers", "20"];
    let system = Setup::new(&["test"]).streamer(&flags).alone().start();
    let browser = Browser::launch(Kind::Chromium);
    let page = watch(&browser, &system, "test");
    page.plays(seconds(10));
    // Making viewers is work that the machine has to do beside the picture: longer than the 200 ms
    // of a neighbour that costs nothing, but no freeze.
    in_time(
        "longest freeze while offers pour in that nobody completes",
        seconds(1),
        || {
            page.watch_frames();
            let (flood, start) = (Flood::default(), Instant::now());
            // One client alone: more would take the browser's share of a small machine.
            flood.run(&system, 1, |_| start.elapsed() < seconds(3));
            let (frames, gap) = page.frame_gaps();
            assert!(frames > 0, "{flood:?}");
            for answer in flood.taken.into_inner().unwrap() {
                whep::hang_up(system.http(), &answer);
            }
            gap
        },
    );
    assert_eq!(page.player_state(), "playing");
    assert_eq!(page.stats().connections, 1);
    system.assert_quiet();
}

#[test]
fn there_are_as_many_places_as_open_files_are_enough_for() {
    // Twenty viewers need more than a hundred: the limit has to be raised.
    let system = Setup::new(&["test"])
        .streamer_under(&["prlimit", "--nofile=100:1024"])
        .start();
    assert_eq!(system.entry("test").unwrap()["capacity"], 20);
    let offer = whep::recorded("chromium");
    let mut taken = 0;
    while system.streamer.number("/process/fds") <= 100 {
        let answer = whep::call(system.http(), "test", &offer).expect("an answer");
        assert_eq!(answer.status, 201, "{}", answer.text());
        taken += 1;
        assert!(taken <= 20, "{taken} viewers fit");
    }
    let told = system.streamer.complaints();
    let [told] = &told[..] else {
        panic!("{told:?}");
    };
    assert!(told.contains("the limit of 1024 leaves room for 20 viewers"));
}
