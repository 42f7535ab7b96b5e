//! A viewer from its offer to its end.

use super::*;
use crate::media::ladder::Ladder;

pub(super) struct Viewer {
    pub(super) stream: usize,
    pub(super) state: ViewerState,
    pub(super) wish: Wish,
    /// The picture it had until it wished for sound alone.
    pub(super) paused: Option<Paused>,
}

/// A picture that a viewer can come back to.
pub(super) struct Paused {
    pub(super) output: String,
    /// What its connection was made for.
    pub(super) codec: Codec,
}

pub(super) enum ViewerState {
    /// Came while the stream was starting.
    Parked { offer: Bytes, until: Duration },
    /// The engine is making it. It can be connected before its answer has arrived here.
    Opening {
        outputs: Vec<String>,
        connected: bool,
        until: Duration,
    },
    /// Answered; ICE and DTLS are going on.
    Connecting {
        outputs: Vec<String>,
        until: Duration,
    },
    Playing {
        outputs: Vec<String>,
        silence_limit: Duration,
        /// What is known of its line, where that is measured.
        ladder: Option<Ladder>,
    },
}

impl ViewerState {
    /// The outputs that were chosen for it.
    pub(super) fn outputs(&self) -> &[String] {
        match self {
            Self::Parked { .. } => &[],
            Self::Opening { outputs, .. }
            | Self::Connecting { outputs, .. }
            | Self::Playing { outputs, .. } => outputs,
        }
    }
}

impl Hub {
    /// The place of a stream that is listed.
    pub(super) fn stream(&self, name: &str) -> Option<usize> {
        let mut streams = self.streams.iter();
        streams.position(|stream| stream.listed && stream.name == name)
    }

    pub(super) fn handle_open(
        &mut self,
        now: Duration,
        stream: &str,
        viewer: ViewerId,
        offer: Bytes,
    ) {
        if self.viewers.contains_key(&viewer) {
            return self.refuse(
                viewer,
                Refusal::Failed("the viewer is there already".into()),
            );
        }
        if !matches!(self.stop, Stop::NotYet) {
            let text = "the streamer is stopping".to_owned();
            return self.refuse(viewer, Refusal::NotRunning(text));
        }
        let Some(index) = self.stream(stream) else {
            return self.refuse(viewer, Refusal::NoSuchStream(stream.to_owned()));
        };
        let taken = self.viewers.len() + self.departing.saturating_sub(limits::DEPARTING);
        if taken >= self.parts.capacity && !self.make_room(now, index, &offer) {
            return self.refuse(viewer, Refusal::Full(self.parts.capacity));
        }
        let state = &self.streams[index];
        match state.status {
            StreamState::Failed => {
                let error = state.complaint().map_or("unknown reason", String::as_str);
                let text = format!("the stream does not run: {error}");
                self.refuse(viewer, Refusal::NotRunning(text));
            }
            // What its outputs carry is not known yet.
            StreamState::Starting | StreamState::Idle => {
                // A broken offer needs no waiting.
                if let Err(error) = Offer::parse(&offer) {
                    return self.refuse(viewer, error.into());
                }
                let until = now + PARK_LIMIT;
                self.add(viewer, index, ViewerState::Parked { offer, until });
            }
            StreamState::Live => self.open(now, index, viewer, &offer),
        }
    }

    /// Gives away the place of the viewer that has been connecting for longest, if that is long:
    /// else offers that nobody means to complete would lock everybody out.
    fn make_room(&mut self, now: Duration, stream: usize, offer: &[u8]) -> bool {
        // Not for an offer that comes to nothing, nor while those before it are still being ended.
        if self.streams[stream].status == StreamState::Failed
            || self.departing >= limits::DEPARTING
            || Offer::parse(offer).is_err()
        {
            return false;
        }
        let connecting = self.viewers.iter().filter_map(|(id, v)| match v.state {
            ViewerState::Connecting { until, .. } => Some((until, *id)),
            _ => None,
        });
        let slowest = connecting.min();
        match slowest.filter(|(until, _)| *until + CONNECT_PATIENCE <= now + CONNECT_LIMIT) {
            Some((_, slowest)) => {
                self.end(slowest, "no connection yet, and all places are taken");
                true
            }
            None => false,
        }
    }

    pub(super) fn refuse(&mut self, viewer: ViewerId, refusal: Refusal) {
        self.events.push(MediaEvent::Answered {
            viewer,
            result: Err(refusal),
        });
    }

    pub(super) fn open(&mut self, now: Duration, stream: usize, viewer: ViewerId, offer: &[u8]) {
        let available = self.streams[stream].available();
        let plan = Offer::parse(offer).and_then(|offer| offer.plan(&available));
        let plan = match plan {
            Ok(plan) => plan,
            Err(error) => {
                self.forget(viewer);
                return self.refuse(viewer, error.into());
            }
        };
        let outputs: Vec<String> = plan.tracks.iter().map(|t| t.output.clone()).collect();
        // So that there is a picture when the connection stands.
        for output in &outputs {
            self.wake(now, stream, output);
        }
        self.add(
            viewer,
            stream,
            ViewerState::Opening {
                outputs,
                connected: false,
                until: now + OPEN_LIMIT,
            },
        );
        let engine = self.parts.engine.clone();
        let inbox = self.parts.inbox.clone();
        self.busy += 1;
        let lost = Input::Opened {
            viewer,
            result: Err("it was given up".to_owned()),
        };
        self.job("viewer-open", lost, move || Input::Opened {
            viewer,
            result: engine.open(
                viewer,
                &plan,
                Arc::new(move |event| inbox(Input::Engine(event))),
            ),
        });
    }

    pub(super) fn handle_opened(
        &mut self,
        now: Duration,
        viewer: ViewerId,
        result: Result<String, String>,
    ) {
        let opening = match self.viewers.get_mut(&viewer).map(|v| &mut v.state) {
            Some(ViewerState::Opening {
                outputs, connected, ..
            }) => Some((std::mem::take(outputs), *connected)),
            _ => None,
        };
        match (opening, result) {
            // It was closed in the meantime.
            (None, Ok(_)) => self.close_engine(viewer),
            (None, Err(_)) => self.departing = self.departing.saturating_sub(1),
            (Some(_), Err(error)) => {
                tracing::warn!(%viewer, error, "viewer cannot be made");
                self.forget(viewer);
                self.refuse(viewer, Refusal::Failed(error));
            }
            (Some((outputs, connected)), Ok(answer)) => {
                if let Some(viewer) = self.viewers.get_mut(&viewer) {
                    viewer.state = ViewerState::Connecting {
                        outputs,
                        until: now + CONNECT_LIMIT,
                    };
                }
                self.events.push(MediaEvent::Answered {
                    viewer,
                    result: Ok(answer),
                });
                if connected {
                    self.play(now, viewer);
                }
            }
        }
    }

    /// The engine may block, so it is told by a thread of its own; how often that may happen, whoever
    /// sends candidates here has bounded.
    pub(super) fn handle_candidate(&self, viewer: ViewerId, candidate: Trickled) {
        let state = self.viewers.get(&viewer).map(|viewer| &viewer.state);
        if let Some(ViewerState::Connecting { .. } | ViewerState::Playing { .. }) = state {
            let engine = self.parts.engine.clone();
            let work = move || engine.add_candidate(viewer, &candidate);
            (self.parts.jobs)("candidate", Box::new(work));
        }
    }

    pub(super) fn handle_engine(&mut self, now: Duration, event: Event) {
        match event {
            Event::Connected { viewer } => {
                match self.viewers.get_mut(&viewer).map(|v| &mut v.state) {
                    Some(ViewerState::Opening { connected, .. }) => *connected = true,
                    Some(ViewerState::Connecting { .. }) => self.play(now, viewer),
                    _ => {}
                }
            }
            Event::KeyframeWanted { viewer } => {
                let Some(viewer) = self.viewers.get(&viewer) else {
                    return;
                };
                let stream = &self.streams[viewer.stream];
                if let ViewerState::Playing { outputs, .. } = &viewer.state {
                    for output in outputs {
                        let keyframe = stream.fanout.want_keyframe(now, output);
                        stream.force(keyframe, output);
                    }
                }
            }
            Event::Gone { viewer, reason } => self.end(viewer, &reason),
        }
    }

    /// Frames flow from now on.
    fn play(&mut self, now: Duration, id: ViewerId) {
        let Some(viewer) = self.viewers.get_mut(&id) else {
            return;
        };
        let ViewerState::Connecting { outputs, .. } = &mut viewer.state else {
            return;
        };
        let outputs = std::mem::take(outputs);
        let stream = &mut self.streams[viewer.stream];
        let sound_only = outputs.iter().all(|output| output == "audio");
        let silence_limit = if sound_only {
            SILENCE_LIMIT_SOUND
        } else {
            SILENCE_LIMIT
        };
        self.dirty = true;
        for output in &outputs {
            stream.wake(now, output);
            let keyframe = stream
                .fanout
                .join(now, id, output, stream.keyframes(output));
            stream.force(keyframe, output);
        }
        viewer.state = ViewerState::Playing {
            outputs,
            silence_limit,
            ladder: None,
        };
        self.silence_check.get_or_insert(now + SILENCE_CHECK);
        tracing::debug!(viewer = %id, stream = stream.name, "viewer connected");
        self.follow(now, id);
    }

    pub(super) fn check_silence(&mut self, now: Duration) {
        let playing: Vec<(ViewerId, Duration)> = self
            .viewers
            .iter()
            .filter_map(|(id, viewer)| match viewer.state {
                ViewerState::Playing { silence_limit, .. } => Some((*id, silence_limit)),
                _ => None,
            })
            .collect();
        for (viewer, limit) in &playing {
            let Some(silence) = self.parts.engine.silence(*viewer) else {
                continue;
            };
            let doubtful = *limit == SILENCE_LIMIT_SOUND && silence < SILENCE_LIMIT_LOSSY;
            if silence >= *limit && !(doubtful && self.parts.engine.loses(*viewer)) {
                self.end(*viewer, "nothing has been heard from the viewer");
            }
        }
        self.silence_check = (!playing.is_empty()).then(|| now + SILENCE_CHECK);
    }

    /// Ends a viewer from our side and says so.
    pub(super) fn end(&mut self, viewer: ViewerId, reason: &str) {
        let Some(entry) = self.viewers.get(&viewer) else {
            return;
        };
        let answered = matches!(
            entry.state,
            ViewerState::Connecting { .. } | ViewerState::Playing { .. }
        );
        let parked = matches!(entry.state, ViewerState::Parked { .. });
        self.remove(viewer);
        let reason = reason.to_owned();
        if answered {
            self.events.push(MediaEvent::Gone { viewer, reason });
        } else if parked {
            self.refuse(viewer, Refusal::NotRunning(reason));
        } else {
            self.refuse(viewer, Refusal::Failed(reason));
        }
    }

    fn add(&mut self, id: ViewerId, stream: usize, state: ViewerState) {
        let viewer = Viewer {
            stream,
            state,
            wish: Wish::Auto,
            paused: None,
        };
        let new = self.viewers.insert(id, viewer).is_none();
        if new {
            self.streams[stream].viewers += 1;
            self.changed(stream);
        }
    }

    /// Takes a viewer out of the table; what the engine holds is somebody else's.
    fn forget(&mut self, id: ViewerId) -> Option<Viewer> {
        let viewer = self.viewers.remove(&id)?;
        let stream = &mut self.streams[viewer.stream];
        stream.viewers = stream.viewers.saturating_sub(1);
        stream.fanout.leave(id);
        self.changed(viewer.stream);
        Some(viewer)
    }

    pub(super) fn remove(&mut self, id: ViewerId) {
        let Some(viewer) = self.forget(id) else {
            return;
        };
        match viewer.state {
            ViewerState::Connecting { .. } | ViewerState::Playing { .. } => {
                self.departing += 1;
                self.close_engine(id);
            }
            // handle_opened closes what comes out of it.
            ViewerState::Opening { .. } => self.departing += 1,
            ViewerState::Parked { .. } => {}
        }
    }

    fn close_engine(&mut self, viewer: ViewerId) {
        let engine = self.parts.engine.clone();
        self.busy += 1;
        self.job("viewer-close", Input::Closed, move || {
            engine.close(viewer);
            Input::Closed
        });
    }

    pub(super) fn of_stream(
        &self,
        stream: usize,
        wanted: impl Fn(&ViewerState) -> bool,
    ) -> Vec<ViewerId> {
        self.viewers
            .iter()
            .filter(|(_, viewer)| viewer.stream == stream && wanted(&viewer.state))
            .map(|(id, _)| *id)
            .collect()
    }

    pub(super) fn end_all(&mut self, stream: usize, reason: &str) {
        for viewer in self.of_stream(stream, |_| true) {
            self.end(viewer, reason);
        }
    }
}
