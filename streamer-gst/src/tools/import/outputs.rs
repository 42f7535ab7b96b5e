//! Where a line ends, and which of these places become outputs.

use super::plan::{Fate, Plan};
use crate::codec::Kind;
use crate::description::syntax::{Element, Link, Node};
use crate::description::{Diagnostic, Span, Texts, is_output_name};
use crate::gst::check::{Content, Form, Role, content, decider, role};

/// Where a branch of the line ends: at something that goes, or with its last element.
#[derive(Debug)]
pub(super) struct Ending {
    /// By number: the link to what goes.
    pub(super) link: Option<usize>,
    /// By number: the last element; nothing for an address.
    pub(super) element: Option<usize>,
    pub(super) kind: Kind,
    pub(super) form: Form,
    pub(super) state: State,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    Undecided,
    /// The line has an output there.
    Present,
    /// By this name.
    Output(String),
    Dropped,
}

/// A branch that has no place in a description.
pub(super) struct LeftOut {
    kind: Kind,
    span: Span,
    first: String,
    /// All of it, as in the line.
    line: String,
}

impl Plan<'_> {
    /// Finds all endings, and what becomes of them.
    pub(super) fn find_outputs(&mut self) {
        self.find_endings();
        self.sweep();
        self.choose();
        self.name();
    }

    /// What is left out, as lines of comment.
    pub(super) fn comments(&self) -> Vec<String> {
        let comment = |one: &LeftOut| {
            let what = called(one.kind);
            format!(
                "# Left out, since a stream has one {what}:\n#   {}\n",
                one.line
            )
        };
        self.left_out.iter().map(comment).collect()
    }

    /// What is left out, where it stands in the line.
    pub(super) fn warnings(&self, texts: &Texts) -> Vec<Diagnostic> {
        let warning = |one: &LeftOut| {
            let (what, both) = match one.kind {
                Kind::Video => (called(one.kind), "compositor makes one picture"),
                Kind::Audio => (called(one.kind), "audiomixer makes one sound"),
            };
            let message = format!("a stream has one {what}, so {} is left out", one.first);
            let warning = texts.warning(one.span, message);
            warning.help(format!("make a stream of its own of it; {both} of both"))
        };
        self.left_out.iter().map(warning).collect()
    }

    fn find_endings(&mut self) {
        let mut found = Vec::new();
        for (number, link) in self.graph.links.iter().enumerate() {
            let ends = self.is_gone(&link.to) || matches!(link.to.node, Node::Url(_));
            if ends && !self.is_gone(&link.from) {
                let element = self.graph.element_at(&link.from);
                found.push((link.span, self.ending(element, Some(number))));
            }
        }
        for (index, element) in self.graph.elements.iter().enumerate() {
            let mut ending = self.ending(Some(index), None);
            let allowed = element.property("allow-not-linked").is_some();
            let encoded = ending.form == Form::Sent || allowed && ending.form == Form::Coded;
            let present = element.is_output() && encoded;
            if present {
                ending.state = State::Present;
            }
            let last = self.graph.links_from(index).next().is_none();
            if self.fate(index) != Fate::Gone && (present || last) {
                found.push((element.factory.span, ending));
            }
        }
        found.sort_by_key(|(span, _)| span.start());
        self.endings = found.into_iter().map(|(_, ending)| ending).collect();
    }

    fn ending(&self, element: Option<usize>, number: Option<usize>) -> Ending {
        let link = number.map(|number| &self.graph.links[number]);
        let decider = element.and_then(|element| decider(self.graph, element));
        let anew = decider.map(|decider| self.fate(decider));
        let Content { kind, form } = match (anew, element) {
            (Some(Fate::Replaced(kind)), _) => Content {
                kind: Some(kind),
                form: Form::Sent,
            },
            (_, Some(element)) => content(self.graph, element, link),
            (_, None) => Content {
                kind: None,
                form: Form::Coded,
            },
        };
        let to = link.and_then(|link| self.graph.element_at(&link.to));
        let wanted = to.and_then(|to| match role(self.graph, to) {
            Role::End(kind) => kind,
            _ => None,
        });
        Ending {
            link: number,
            element,
            kind: kind.or(wanted).unwrap_or(Kind::Video),
            form,
            state: match link.is_some_and(is_report) {
                true => State::Dropped,
                false => State::Undecided,
            },
        }
    }

    /// Which endings become outputs. Those that need no encoder of ours go before the others.
    fn choose(&mut self) {
        for ours in [false, true] {
            for index in 0..self.endings.len() {
                let ending = &self.endings[index];
                if ending.state == State::Undecided && self.is_ours(ending) == ours {
                    self.decide(index, ours);
                }
            }
        }
    }

    fn decide(&mut self, index: usize, ours: bool) {
        let ending = &self.endings[index];
        let (kind, link) = (ending.kind, ending.link);
        let decider = |one: &Ending| one.element.and_then(|element| decider(self.graph, element));
        let is_tee = |index: &usize| self.graph.elements[*index].factory.text == "tee";
        let above = self.above(ending);
        let chosen = |one: &&Ending| {
            one.kind == kind && matches!(one.state, State::Present | State::Output(_))
        };
        let (mut others, mut shares, mut same) = (false, false, false);
        for other in self.endings.iter().filter(chosen) {
            let of_other = self.above(other);
            let split = above.iter().any(|i| is_tee(i) && of_other.contains(i));
            others = true;
            shares |= split;
            // The same frames, or what would be encoded only for one who looks at this machine.
            same |= split && (ours || decider(other) == decider(ending));
        }
        let further = others && (kind == Kind::Audio || !shares);
        if !same && !further {
            self.endings[index].state = State::Output(String::new());
            return;
        }
        self.endings[index].state = State::Dropped;
        let mut gone = self.sweep();
        if !same {
            let link = link.map(|link| &self.graph.links[link]);
            gone.extend(link.and_then(|link| self.graph.element_at(&link.to)));
            self.leave_out(kind, &gone);
        }
    }

    /// Whether an ending needs an encoder of ours.
    fn is_ours(&self, ending: &Ending) -> bool {
        ending.form != Form::Sent || ending.element.is_some_and(|element| self.is_anew(element))
    }

    fn leave_out(&mut self, kind: Kind, gone: &[usize]) {
        let elements: Vec<&Element> = gone.iter().map(|i| &self.graph.elements[*i]).collect();
        let Some(first) = elements.first() else {
            return;
        };
        let shown: Vec<String> = elements.iter().map(|e| super::text::element(e)).collect();
        self.left_out.push(LeftOut {
            kind,
            span: first.factory.span,
            first: first.factory.text.clone(),
            line: shown.join(" ! "),
        });
    }

    /// Everything that has to do with what comes to an ending.
    fn above(&self, ending: &Ending) -> Vec<usize> {
        let mut above: Vec<usize> = ending.element.into_iter().collect();
        let mut at = 0;
        while let Some(&index) = above.get(at) {
            for link in self.graph.links_to(index) {
                let from = self.graph.element_at(&link.from);
                above.extend(from.filter(|from| !above.contains(from)));
            }
            at += 1;
        }
        above
    }

    /// What only leads to dropped endings goes, however long the row; returns all of it.
    fn sweep(&mut self) -> Vec<usize> {
        let mut swept = Vec::new();
        for _ in 0..self.fates.len() {
            for index in 0..self.fates.len() {
                if self.fates[index] != Fate::Gone && self.is_useless(index) {
                    self.fates[index] = Fate::Gone;
                    swept.push(index);
                }
            }
        }
        swept.sort_unstable();
        swept
    }

    fn is_useless(&self, index: usize) -> bool {
        let own = |ending: &&Ending| ending.element == Some(index);
        let mut endings = self.endings.iter().filter(own);
        let mut links = self.graph.links_from(index).peekable();
        let followed = links.peek().is_some();
        (followed || self.endings.iter().any(|ending| own(&ending)))
            && endings.all(|ending| ending.state == State::Dropped)
            && links.all(|link| self.is_gone(&link.to) || matches!(link.to.node, Node::Url(_)))
    }

    /// Gives the outputs their names.
    fn name(&mut self) {
        let elements = self.graph.elements.iter().enumerate();
        let (outputs, others): (Vec<_>, Vec<_>) = elements
            .filter_map(|(index, element)| Some((index, element.name()?)))
            .partition(|(index, _)| self.is_present(*index));
        let mut taken: Vec<String> = outputs.iter().map(|(_, name)| (*name).to_owned()).collect();
        for (_, name) in others.into_iter().filter(|(_, name)| is_output_name(name)) {
            self.names.insert(name, format!("raw_{name}"));
        }
        for ending in &mut self.endings {
            let State::Output(name) = &mut ending.state else {
                continue;
            };
            let base = ending.kind.name();
            let mut free = (1..).map(|number| match number {
                1 => base.to_owned(),
                _ => format!("{base}_{number}"),
            });
            *name = free.find(|name| !taken.contains(name)).unwrap_or_default();
            taken.push(name.clone());
        }
    }
}

/// Whether a link carries only reports about what is sent or received.
fn is_report(link: &Link) -> bool {
    let mut pads = [&link.from.pad, &link.to.pad].into_iter().flatten();
    pads.any(|pad| pad.text.contains("rtcp"))
}

fn called(kind: Kind) -> &'static str {
    match kind {
        Kind::Video => "picture",
        Kind::Audio => "sound",
    }
}
