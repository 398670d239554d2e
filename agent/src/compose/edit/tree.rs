//! The file as a tree whose nodes know where they stand in the text.

use std::ops::Range;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::Refusal;

/// No compose file is deeper, and each level is one of the stack's.
const DEEPEST: usize = 48;

#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) kind: Kind,
    /// In bytes of the text, as the parser says; an anchor or tag is in it. It is believed only where [`Node::literal`] finds it
    /// right.
    pub(super) span: Range<usize>,
    /// From 1 on.
    pub(super) line: usize,
    /// It has a name that aliases can use.
    anchored: bool,
    tag: Option<String>,
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    Scalar(String, ScalarStyle),
    Sequence(Vec<Node>),
    Mapping(Vec<(Node, Node)>),
    Alias(usize),
}

impl Node {
    /// The words of a scalar.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar(text, _) => Some(text),
            _ => None,
        }
    }

    /// A value that is not there.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar(text, ScalarStyle::Plain) if matches!(text.as_str(), "" | "~" | "null"))
    }

    /// Whether it stands elsewhere too, could, or is read in another way than it looks.
    pub(super) fn shared(&self) -> bool {
        self.anchored || self.tag.is_some() || matches!(self.kind, Kind::Alias(_))
    }

    /// Written in brackets.
    pub(super) fn is_flow(&self, text: &str) -> bool {
        let begin = text.as_bytes().get(self.span.start);
        matches!(begin, Some(b'{' | b'['))
    }

    /// The one entry of a mapping with this key.
    pub(super) fn entry(&self, key: &str) -> Result<Option<(&Node, &Node)>, Refusal> {
        let Kind::Mapping(entries) = &self.kind else {
            return Ok(None);
        };
        let mut found = entries.iter().filter(|(it, _)| it.text() == Some(key));
        let first = found.next().map(|(key, value)| (key, value));
        match found.next() {
            Some((second, _)) => Err(Refusal::Twice {
                what: key.to_owned(),
                line: second.line,
            }),
            None => Ok(first),
        }
    }

    /// Where the words of a scalar stand in the text, without their quotes, if they stand there as they read: on one line,
    /// without escapes. The parser's span may reach into a comment behind the quotes, so only its start is used.
    pub(super) fn literal(&self, text: &str) -> Option<Range<usize>> {
        let Kind::Scalar(words, style) = &self.kind else {
            return None;
        };
        let quote = quote(*style)?;
        let escaping = words.contains(['\n', '\\']) || (!quote.is_empty() && words.contains(quote));
        let inner = text.get(self.span.start..)?.strip_prefix(quote)?;
        let behind = inner.strip_prefix(words.as_str())?;
        let here = !words.is_empty() && !escaping && behind.starts_with(quote);
        let start = self.span.start + quote.len();
        let whole = !quote.is_empty() || start + words.len() == self.span.end;
        (here && whole).then(|| start..start + words.len())
    }

    /// Where a scalar on one line ends in the text, behind its quotes.
    pub(super) fn end(&self, text: &str) -> Option<usize> {
        let Kind::Scalar(words, style) = &self.kind else {
            return None;
        };
        let quote = quote(*style)?;
        if words.is_empty() && !quote.is_empty() {
            let empty = text.get(self.span.start..)?.starts_with(&quote.repeat(2));
            return empty.then_some(self.span.start + 2);
        }
        self.literal(text).map(|words| words.end + quote.len())
    }

    /// Whether both read the same, wherever they stand.
    pub(super) fn same(&self, other: &Self) -> bool {
        let kinds = match (&self.kind, &other.kind) {
            (Kind::Scalar(a, style), Kind::Scalar(b, other)) => a == b && style == other,
            (Kind::Sequence(a), Kind::Sequence(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same(b))
            }
            (Kind::Mapping(a), Kind::Mapping(b)) => {
                let pairs =
                    |(a, b): (&(Node, Node), &(Node, Node))| a.0.same(&b.0) && a.1.same(&b.1);
                a.len() == b.len() && a.iter().zip(b).all(pairs)
            }
            (Kind::Alias(a), Kind::Alias(b)) => a == b,
            _ => false,
        };
        kinds && self.anchored == other.anchored && self.tag == other.tag
    }
}

/// What a scalar of this style stands between; `None` for those of several lines.
fn quote(style: ScalarStyle) -> Option<&'static str> {
    match style {
        ScalarStyle::Plain => Some(""),
        ScalarStyle::SingleQuoted => Some("'"),
        ScalarStyle::DoubleQuoted => Some("\""),
        ScalarStyle::Literal | ScalarStyle::Folded => None,
    }
}

/// A collection whose end has not come yet.
struct Open {
    node: Node,
    key: Option<Node>,
}

impl Open {
    fn add(&mut self, node: Node) {
        match &mut self.node.kind {
            Kind::Sequence(items) => items.push(node),
            Kind::Mapping(entries) => match self.key.take() {
                Some(key) => entries.push((key, node)),
                None => self.key = Some(node),
            },
            Kind::Scalar(..) | Kind::Alias(_) => {}
        }
    }
}

/// Reads the one document of the text.
pub(super) fn read(text: &str) -> Result<Node, Refusal> {
    // The parser counts characters, texts are cut at bytes.
    let mut bytes: Vec<usize> = text.char_indices().map(|(byte, _)| byte).collect();
    bytes.push(text.len());
    let byte = |index: usize| bytes.get(index).copied().unwrap_or(text.len());
    let mut open: Vec<Open> = Vec::new();
    let mut root = None;
    if text.starts_with('\u{feff}') {
        return Err(Refusal::Unreadable { line: 1 });
    }
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| Refusal::Unreadable {
            line: error.marker().line(),
        })?;
        let node = |kind, anchor: usize, tag: Option<String>| Node {
            kind,
            span: byte(span.start.index())..byte(span.end.index()),
            line: span.start.line(),
            anchored: anchor != 0,
            tag,
        };
        let whole = match event {
            Event::Scalar(words, style, anchor, tag) => {
                let tag = tag.map(|tag| format!("{}{}", tag.handle, tag.suffix));
                node(Kind::Scalar(words.into_owned(), style), anchor, tag)
            }
            Event::Alias(anchor) => node(Kind::Alias(anchor), 0, None),
            Event::SequenceStart(anchor, tag) => {
                let tag = tag.map(|tag| format!("{}{}", tag.handle, tag.suffix));
                let node = node(Kind::Sequence(Vec::new()), anchor, tag);
                begin(&mut open, node, &span)?;
                continue;
            }
            Event::MappingStart(anchor, tag) => {
                let tag = tag.map(|tag| format!("{}{}", tag.handle, tag.suffix));
                let node = node(Kind::Mapping(Vec::new()), anchor, tag);
                begin(&mut open, node, &span)?;
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some(open) => open.node,
                None => return Err(Refusal::NoServices),
            },
            Event::DocumentStart(_) if root.is_some() => return Err(Refusal::NoServices),
            _ => continue,
        };
        match open.last_mut() {
            Some(open) => open.add(whole),
            None => root = Some(whole),
        }
    }
    root.ok_or(Refusal::NoServices)
}

fn begin(open: &mut Vec<Open>, node: Node, span: &Span) -> Result<(), Refusal> {
    if open.len() == DEEPEST {
        return Err(Refusal::Unreadable {
            line: span.start.line(),
        });
    }
    open.push(Open { node, key: None });
    Ok(())
}
