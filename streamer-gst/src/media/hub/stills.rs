//! Pictures for the list.

use super::*;

impl Hub {
    pub(super) fn handle_image(&mut self, now: Duration, name: &str, reply: ImageReply) {
        let Some(index) = self.stream(name) else {
            let _ = reply.send(Err(Refusal::NoSuchStream(name.to_owned())));
            return;
        };
        let stream = &mut self.streams[index];
        if let Some((made, jpeg)) = &stream.image {
            if now.saturating_sub(*made) < IMAGE_AGE {
                let _ = reply.send(Ok(jpeg.clone()));
                return;
            }
        }
        let image = stream.description.as_ref().and_then(|d| d.image.as_ref());
        let still = match image {
            Some(Image::File(path)) => Still::File(path.clone()),
            Some(Image::Url(_)) => {
                let text = "the image is elsewhere".to_owned();
                let _ = reply.send(Err(Refusal::NotRunning(text)));
                return;
            }
            None => {
                let output = stream.picture_output().unwrap_or_default();
                let frames = stream.fanout.picture(now, &output, IMAGE_AGE);
                let live = stream.status == StreamState::Live;
                if live && frames.is_empty() && stream.fanout.is_idle(&output) {
                    stream.image_wanted.push(reply);
                    stream.image_until.get_or_insert(now + IMAGE_LIMIT);
                    self.wake(now, index, &output);
                    self.streams[index].image_of = Some(output);
                    return;
                }
                if frames.is_empty() || !live {
                    let text = "there is no picture now".to_owned();
                    let _ = reply.send(Err(Refusal::NotRunning(text)));
                    return;
                }
                Still::Frames(frames)
            }
        };
        stream.image_wanted.push(reply);
        if stream.image_wanted.len() > 1 {
            return;
        }
        stream.image_until = Some(now + IMAGE_LIMIT);
        self.make_still(index, still);
    }

    /// An output shows a picture again.
    pub(super) fn handle_woke(&mut self, now: Duration, index: usize, output: &str) {
        if self.streams[index].image_of.as_deref() == Some(output) {
            self.make_awaited_still(now, index);
            self.check_rest(now, index);
        }
    }

    /// Makes the still that waited for a keyframe, if that is there.
    pub(super) fn make_awaited_still(&mut self, now: Duration, index: usize) {
        let stream = &mut self.streams[index];
        let Some(output) = stream.image_of.take() else {
            return;
        };
        let frames = stream.fanout.picture(now, &output, IMAGE_AGE);
        if frames.is_empty() {
            stream.image_of = Some(output);
        } else {
            self.make_still(index, Still::Frames(frames));
        }
    }

    fn make_still(&self, index: usize, still: Still) {
        let stills = self.parts.stills.clone();
        let made = move |result| Input::ImageMade {
            stream: index,
            result,
        };
        let lost = made(Err("making the picture was given up".to_owned()));
        self.job("still", lost, move || made(stills(still)));
    }

    pub(super) fn handle_image_made(
        &mut self,
        now: Duration,
        index: usize,
        result: &Result<Bytes, String>,
    ) {
        let stream = &mut self.streams[index];
        if let Ok(jpeg) = result {
            stream.image = Some((now, jpeg.clone()));
        }
        stream.give_image(&result.clone().map_err(Refusal::Failed));
    }
}

impl Stream {
    /// Answers everybody who waits for a still.
    pub(super) fn give_image(&mut self, result: &Result<Bytes, Refusal>) {
        self.image_until = None;
        self.image_of = None;
        for reply in self.image_wanted.drain(..) {
            let _ = reply.send(result.clone());
        }
    }
}
