//! What becomes of each element of a line, and where the outputs are.

use std::collections::BTreeMap;

use crate::codec::Kind;
use crate::description::syntax::{Element, End, Graph, Link, Node};
use crate::description::{Diagnostic, Span, Texts, is_output_name};
use crate::gst::check::{Content, Form, Role, content, hands_on, role};

/// What becomes of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Kept,
    Gone,
    /// An encoder whose format browsers do not play; ours comes in its place.
    Replaced(Kind),
    /// It served an encoder that is replaced.
    Skipped,
}

/// Where a branch of the line ends: at something that goes, or with its last element.
#[derive(Debug)]
pub(super) struct Ending {
    /// By number: the link to what goes.
    link: Option<usize>,
    /// By number: the last element; nothing for an address.
    element: Option<usize>,
    pub(super) kind: Kind,
    pub(super) form: Form,
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Undecided,
    /// The line has an output there.
    Present,
    /// By this name.
    Output(String),
    Dropped,
}

/// A branch that has no place in a description.
struct LeftOut {
    kind: Kind,
    span: Span,
    first: String,
    /// All of it, as in the line.
    line: String,
}

/// What becomes of a line.
pub(super) struct Plan<'a> {
    pub(super) graph: &'a Graph,
    fates: Vec<Fate>,
    endings: Vec<Ending>,
    /// Names that would make an output of what is none, and what they become.
    names: BTreeMap<&'a str, String>,
    left_out: Vec<LeftOut>,
}

/// Whether an element stands for brackets.
pub(super) fn is_bin(element: &Element) -> bool {
    ["bin", "pipeline"].contains(&element.factory.text.as_str())
}

impl<'a> Plan<'a> {
    pub(super) fn of(graph: &'a Graph) -> Self {
        let elements = 0..graph.elements.len();
        let goes = |index: usize| {
            is_bin(&graph.elements[index]) || matches!(role(graph, index), Role::End(_))
        };
        let fate = |index: usize| match goes(index) {
            true => Fate::Gone,
            false => Fate::Kept,
        };
        let mut plan = Self {
            graph,
            fates: elements.map(fate).collect(),
            endings: Vec::new(),
            names: BTreeMap::new(),
            left_out: Vec::new(),
        };
        plan.spread();
        plan.replace();
        plan.find_endings();
        plan.choose();
        plan.name();
        plan
    }

    pub(super) fn fate(&self, index: usize) -> Fate {
        self.fates[index]
    }

    /// Whether nothing is left of what stands at an end of a link.
    pub(super) fn is_gone(&self, end: &End) -> bool {
        let index = self.graph.element_at(end);
        index.is_some_and(|index| self.fates[index] == Fate::Gone)
    }

    /// The new output behind a link, or behind an element that nothing follows.
    pub(super) fn output(
        &self,
        element: Option<usize>,
        link: Option<&Link>,
    ) -> Option<(&Ending, &str)> {
        let mut endings = self.endings.iter();
        endings.find_map(|ending| match &ending.state {
            State::Output(name)
                if ending.link.map(|link| &self.graph.links[link]) == link
                    && (link.is_some() || ending.element == element) =>
            {
                Some((ending, name.as_str()))
            }
            _ => None,
        })
    }

    /// Whether an element is a tee that was an output before.
    pub(super) fn is_present(&self, index: usize) -> bool {
        let mut endings = self.endings.iter();
        endings.any(|one| one.state == State::Present && one.element == Some(index))
    }

    /// The name of an element in the description.
    pub(super) fn named<'b>(&'b self, name: &'b str) -> &'b str {
        self.names.get(name).map_or(name, String::as_str)
    }

    /// Whether an element makes what an output carries.
    pub(super) fn makes_output(&self, index: usize) -> bool {
        let kept = self.endings.iter().filter(|e| e.state != State::Dropped);
        let mut deciders = kept.filter_map(|ending| self.decider(ending.element?));
        deciders.any(|decider| decider == index)
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

    /// What is fed by nothing but what is gone goes too, however long the row.
    fn spread(&mut self) {
        for _ in 0..self.fates.len() {
            for index in 0..self.fates.len() {
                let mut fed = self.graph.links_to(index).peekable();
                if fed.peek().is_some() && fed.all(|link| self.is_gone(&link.from)) {
                    self.fates[index] = Fate::Gone;
                }
            }
        }
    }

    /// Finds encoders that have to be others, and what served them.
    fn replace(&mut self) {
        for index in 0..self.fates.len() {
            let Role::Encoder(kind) = role(self.graph, index) else {
                continue;
            };
            let mut served = Vec::new();
            if self.fates[index] == Fate::Kept && self.leads_out(index, &mut served) {
                for parser in served {
                    self.fates[parser] = Fate::Skipped;
                }
                self.fates[index] = Fate::Replaced(kind);
            }
        }
    }

    /// Whether what an element gives is played, stored or sent as it is; finds the parsers on the
    /// way.
    fn leads_out(&self, index: usize, parsers: &mut Vec<usize>) -> bool {
        let mut ahead = vec![index];
        let mut seen = Vec::new();
        while let Some(index) = ahead.pop() {
            for link in self.graph.links_from(index) {
                let Some(next) = self.graph.element_at(&link.to) else {
                    continue;
                };
                if self.fates[next] == Fate::Gone || seen.contains(&next) {
                    continue;
                }
                seen.push(next);
                match role(self.graph, next) {
                    Role::Parser => parsers.push(next),
                    _ if hands_on(&self.graph.elements[next]) => {}
                    _ => return false,
                }
                ahead.push(next);
            }
        }
        true
    }

    /// The element that decides on what an element gives: not one that only hands it on.
    pub(super) fn decider(&self, index: usize) -> Option<usize> {
        let mut index = index;
        // A loop of links would be endless.
        for _ in 0..self.fates.len() {
            let passes = hands_on(&self.graph.elements[index])
                || self.fates[index] == Fate::Skipped
                || role(self.graph, index) == Role::Parser;
            let above = self.graph.links_to(index).next();
            match above.and_then(|link| self.graph.element_at(&link.from)) {
                Some(above) if passes => index = above,
                _ => return Some(index),
            }
        }
        None
    }

    /// Whether what an element gives comes from an encoder of ours.
    pub(super) fn is_anew(&self, index: usize) -> bool {
        let decider = self.decider(index).map(|decider| self.fates[decider]);
        matches!(decider, Some(Fate::Replaced(_)))
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
            let span = element.factory.span;
            if self.fates[index] == Fate::Gone {
                continue;
            }
            let mut ending = self.ending(Some(index), None);
            let allowed = element.property("allow-not-linked").is_some();
            if element.is_output() && (ending.form == Form::Sent || allowed && !self.is_raw(index))
            {
                ending.state = State::Present;
                found.push((span, ending));
            } else if self.graph.links_from(index).next().is_none() {
                found.push((span, ending));
            }
        }
        found.sort_by_key(|(span, _)| span.start());
        self.endings = found.into_iter().map(|(_, ending)| ending).collect();
    }

    fn is_raw(&self, index: usize) -> bool {
        content(self.graph, index, None).form == Form::Raw
    }

    fn ending(&self, element: Option<usize>, number: Option<usize>) -> Ending {
        let link = number.map(|number| &self.graph.links[number]);
        let decider = element.and_then(|element| self.decider(element));
        let anew = decider.map(|decider| self.fates[decider]);
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
        // Reports about what is sent or received are no medium.
        let reports = link.is_some_and(|link| {
            let mut pads = [&link.from.pad, &link.to.pad].into_iter().flatten();
            pads.any(|pad| pad.text.contains("rtcp"))
        });
        Ending {
            link: number,
            element,
            kind: kind.or(wanted).unwrap_or(Kind::Video),
            form,
            state: match reports {
                true => State::Dropped,
                false => State::Undecided,
            },
        }
    }

    /// Which endings become outputs: those that need no encoder of ours before the others.
    fn choose(&mut self) {
        let is_theirs = |plan: &Self, one: &Ending| {
            let anew = one.element.is_some_and(|element| plan.is_anew(element));
            one.form == Form::Sent && !anew
        };
        self.sweep();
        let count = self.endings.len();
        let (theirs, ours): (Vec<usize>, Vec<usize>) = (0..count)
            .filter(|index| self.endings[*index].state == State::Undecided)
            .partition(|index| is_theirs(self, &self.endings[*index]));
        let of_ours = ours.len();
        let all: Vec<usize> = theirs.into_iter().chain(ours).collect();
        let first_of_ours = all.len() - of_ours;
        for (order, &index) in all.iter().enumerate() {
            let ending = &self.endings[index];
            let decider = ending.element.and_then(|element| self.decider(element));
            let above = self.above(ending.element);
            let mut twin = false;
            let mut others = 0;
            let mut related = false;
            for other in self.endings.iter().filter(|other| {
                other.kind == ending.kind
                    && matches!(other.state, State::Present | State::Output(_))
            }) {
                let theirs = self.above(other.element);
                let shared = |index: &&usize| theirs.contains(index);
                let tee = |index: &&usize| self.graph.elements[**index].factory.text == "tee";
                let same = other.element.and_then(|element| self.decider(element)) == decider;
                twin |= same && decider.is_some();
                twin |= order >= first_of_ours && above.iter().filter(shared).any(|i| tee(&i));
                related |= above.iter().any(|index| theirs.contains(index));
                others += 1;
            }
            let kind = ending.kind;
            let further = others > 0 && (kind == Kind::Audio || !related);
            if !(twin || further) {
                self.endings[index].state = State::Output(String::new());
                continue;
            }
            let link = ending.link.map(|link| &self.graph.links[link]);
            self.endings[index].state = State::Dropped;
            let mut gone = self.sweep();
            if !twin {
                gone.extend(link.and_then(|link| self.graph.element_at(&link.to)));
                self.leave_out(kind, &gone);
            }
        }
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

    /// Everything above an element, itself included.
    fn above(&self, element: Option<usize>) -> Vec<usize> {
        let mut above: Vec<usize> = element.into_iter().collect();
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

    /// What only leads to dropped endings goes, the first of it first.
    fn sweep(&mut self) -> Vec<usize> {
        let mut swept = Vec::new();
        let dropped = |ending: &Ending| ending.state == State::Dropped;
        for _ in 0..self.fates.len() {
            for index in 0..self.fates.len() {
                let mut own = self.endings.iter().filter(|e| e.element == Some(index));
                let mut followed = self.graph.links_from(index).peekable();
                let useless = own.all(dropped)
                    && (followed.peek().is_some()
                        || self.endings.iter().any(|e| e.element == Some(index)))
                    && followed.all(|link| self.is_gone(&link.to));
                if useless && self.fates[index] != Fate::Gone {
                    self.fates[index] = Fate::Gone;
                    swept.push(index);
                }
            }
        }
        swept.sort_unstable();
        swept
    }

    /// Gives the outputs their names.
    fn name(&mut self) {
        let present = |plan: &Self, index: usize| plan.is_present(index);
        let elements = self.graph.elements.iter().enumerate();
        let (outputs, others): (Vec<_>, Vec<_>) = elements
            .filter_map(|(index, element)| Some((index, element.name()?)))
            .partition(|(index, _)| present(self, *index));
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

fn called(kind: Kind) -> &'static str {
    match kind {
        Kind::Video => "picture",
        Kind::Audio => "sound",
    }
}
