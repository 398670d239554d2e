//! The part of the query language that anybody would use to ask whether data still flow: selectors, ranges, offsets, functions over
//! time, aggregations, arithmetic and comparisons. A query that is not understood is an error, never an empty answer.

/// What was parsed, or why it could not be.
pub(crate) type Parsed<T> = Result<T, String>;

/// A condition on one label.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Matcher {
    pub(crate) label: String,
    pub(crate) negated: bool,
    /// Several for `=~` with alternatives; a star stands at either end for "anything".
    pub(crate) patterns: Vec<String>,
    pub(crate) regex: bool,
}

/// `by` or `without`, and the labels.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Grouping {
    pub(crate) without: bool,
    pub(crate) labels: Vec<String>,
}

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expr {
    Number(f64),
    Selector {
        matchers: Vec<Matcher>,
        range: Option<f64>,
        offset: f64,
    },
    Call {
        name: String,
        args: Vec<Expr>,
    },
    Aggregate {
        name: String,
        grouping: Option<Grouping>,
        arg: Box<Expr>,
    },
    Binary {
        op: String,
        bool_modifier: bool,
        left: Box<Expr>,
        right: Box<Expr>,
    },
}

const AGGREGATES: &[&str] = &["count", "sum", "max", "min", "avg", "group"];

/// Parses the whole of `text`.
pub(crate) fn expression(text: &str) -> Parsed<Expr> {
    let mut parser = Parser { rest: text };
    let expr = parser.binary(0)?;
    parser.space();
    if parser.rest.is_empty() {
        Ok(expr)
    } else {
        Err(format!("unparsed data left: {:?}", parser.rest))
    }
}

/// `1d`, `5m`, `1h30m`, in seconds.
pub(crate) fn duration(text: &str) -> Option<f64> {
    let (mut total, mut rest) = (0.0, text);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        let (unit, length) = match &rest[end..] {
            tail if tail.starts_with("ms") => (0.001, 2),
            tail => (
                match tail.chars().next()? {
                    's' => 1.0,
                    'm' => 60.0,
                    'h' => 3600.0,
                    'd' => 86_400.0,
                    'w' => 604_800.0,
                    _ => return None,
                },
                1,
            ),
        };
        total += number * unit;
        rest = &rest[end + length..];
    }
    (!text.is_empty()).then_some(total)
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, token: &str) -> bool {
        self.space();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn want(&mut self, token: &str) -> Parsed<()> {
        if self.eat(token) {
            Ok(())
        } else {
            Err(format!("expected {token:?} at {:?}", self.rest))
        }
    }

    fn word(&mut self) -> Option<&'a str> {
        self.space();
        let end = self
            .rest
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':')
            .unwrap_or(self.rest.len());
        if end == 0 || self.rest.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(word)
    }

    fn keyword(&mut self, keyword: &str) -> bool {
        let before = self.rest;
        if self.word().is_some_and(|w| w.eq_ignore_ascii_case(keyword)) {
            return true;
        }
        self.rest = before;
        false
    }

    fn operator(&mut self, level: usize) -> Option<&'static str> {
        const LEVELS: [&[&str]; 5] = [
            &["or"],
            &["and", "unless"],
            &["==", "!=", ">=", "<=", ">", "<"],
            &["+", "-"],
            &["*", "/", "%"],
        ];
        LEVELS[level].iter().copied().find(|op| {
            if op.starts_with(|c: char| c.is_ascii_alphabetic()) {
                self.keyword(op)
            } else {
                self.eat(op)
            }
        })
    }

    fn binary(&mut self, level: usize) -> Parsed<Expr> {
        if level == 5 {
            return self.postfix();
        }
        let mut left = self.binary(level + 1)?;
        while let Some(op) = self.operator(level) {
            let bool_modifier = self.keyword("bool");
            let right = self.binary(level + 1)?;
            left = Expr::Binary {
                op: op.to_owned(),
                bool_modifier,
                left: Box::new(left),
                right: Box::new(right),
            };
        }
        Ok(left)
    }

    /// A primary with `[range]` and `offset` behind it, in either spelling.
    fn postfix(&mut self) -> Parsed<Expr> {
        let mut expr = self.primary()?;
        loop {
            if self.eat("[") {
                let window = self.until_duration(']')?;
                match &mut expr {
                    Expr::Selector {
                        range: range @ None,
                        ..
                    } => *range = Some(window),
                    _ => return Err("a range must follow a selector".to_owned()),
                }
            } else if self.keyword("offset") {
                let negative = self.eat("-");
                self.space();
                let end = self
                    .rest
                    .find(|c: char| !c.is_ascii_alphanumeric() && c != '.')
                    .unwrap_or(self.rest.len());
                let seconds = duration(&self.rest[..end])
                    .ok_or_else(|| format!("bad offset at {:?}", self.rest))?;
                self.rest = &self.rest[end..];
                shift(&mut expr, if negative { -seconds } else { seconds });
            } else {
                return Ok(expr);
            }
        }
    }

    fn until_duration(&mut self, close: char) -> Parsed<f64> {
        let end = self.rest.find(close).ok_or("unclosed range")?;
        let seconds = duration(self.rest[..end].trim())
            .ok_or_else(|| format!("bad range at {:?}", self.rest))?;
        self.rest = &self.rest[end + close.len_utf8()..];
        Ok(seconds)
    }

    fn primary(&mut self) -> Parsed<Expr> {
        self.space();
        if self.eat("(") {
            let expr = self.binary(0)?;
            self.want(")")?;
            return Ok(expr);
        }
        if self.eat("-") {
            let right = self.postfix()?;
            return Ok(Expr::Binary {
                op: "*".to_owned(),
                bool_modifier: false,
                left: Box::new(Expr::Number(-1.0)),
                right: Box::new(right),
            });
        }
        if self
            .rest
            .starts_with(|c: char| c.is_ascii_digit() || c == '.')
        {
            let end = self
                .rest
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '.')
                .unwrap_or(self.rest.len());
            let text = &self.rest[..end];
            let number = text
                .parse()
                .ok()
                .or_else(|| duration(text))
                .ok_or_else(|| format!("bad number {text:?}"))?;
            self.rest = &self.rest[end..];
            return Ok(Expr::Number(number));
        }
        if self.rest.starts_with('{') {
            return self.selector(None);
        }
        let name = self
            .word()
            .ok_or_else(|| format!("cannot parse at {:?}", self.rest))?;
        let lower = name.to_ascii_lowercase();
        if AGGREGATES.contains(&lower.as_str()) {
            return self.aggregate(lower);
        }
        if self.eat("(") {
            let mut args = Vec::new();
            while !self.eat(")") {
                args.push(self.binary(0)?);
                if !self.eat(",") {
                    self.want(")")?;
                    break;
                }
            }
            return Ok(Expr::Call { name: lower, args });
        }
        self.selector(Some(name))
    }

    fn grouping(&mut self) -> Parsed<Option<Grouping>> {
        let without = match (self.keyword("by"), self.keyword("without")) {
            (true, _) => false,
            (_, true) => true,
            _ => return Ok(None),
        };
        self.want("(")?;
        let mut labels = Vec::new();
        while !self.eat(")") {
            labels.push(self.word().ok_or("expected a label")?.to_owned());
            self.eat(",");
        }
        Ok(Some(Grouping { without, labels }))
    }

    fn aggregate(&mut self, name: String) -> Parsed<Expr> {
        let before = self.grouping()?;
        self.want("(")?;
        let arg = Box::new(self.binary(0)?);
        self.want(")")?;
        let grouping = if before.is_some() {
            before
        } else {
            self.grouping()?
        };
        Ok(Expr::Aggregate {
            name,
            grouping,
            arg,
        })
    }

    fn selector(&mut self, name: Option<&str>) -> Parsed<Expr> {
        let mut matchers: Vec<_> = name
            .map(|n| Matcher {
                label: "__name__".to_owned(),
                negated: false,
                patterns: vec![n.to_owned()],
                regex: false,
            })
            .into_iter()
            .collect();
        if self.eat("{") {
            while !self.eat("}") {
                matchers.push(self.matcher()?);
                self.eat(",");
            }
        }
        Ok(Expr::Selector {
            matchers,
            range: None,
            offset: 0.0,
        })
    }

    fn matcher(&mut self) -> Parsed<Matcher> {
        let label = self
            .word()
            .ok_or_else(|| format!("expected a label at {:?}", self.rest))?
            .to_owned();
        let (negated, regex) = match ["=~", "!~", "!=", "="].into_iter().find(|op| self.eat(op)) {
            Some("=~") => (false, true),
            Some("!~") => (true, true),
            Some("!=") => (true, false),
            Some(_) => (false, false),
            None => return Err(format!("expected a comparison at {:?}", self.rest)),
        };
        let text = self.string()?;
        let patterns = if regex {
            text.split('|').map(str::to_owned).collect()
        } else {
            vec![text]
        };
        Ok(Matcher {
            label,
            negated,
            patterns,
            regex,
        })
    }

    fn string(&mut self) -> Parsed<String> {
        self.space();
        let quote = self
            .rest
            .chars()
            .next()
            .filter(|c| matches!(c, '"' | '\'' | '`'))
            .ok_or("expected a string")?;
        let mut out = String::new();
        let mut chars = self.rest.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' if quote != '`' => out.extend(chars.next().map(|(_, c)| c)),
                c if c == quote => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(out);
                }
                c => out.push(c),
            }
        }
        Err("unclosed string".to_owned())
    }
}

/// Everything below is looked at that much earlier.
fn shift(expr: &mut Expr, by: f64) {
    match expr {
        Expr::Number(_) => {}
        Expr::Selector { offset, .. } => *offset += by,
        Expr::Call { args, .. } => args.iter_mut().for_each(|a| shift(a, by)),
        Expr::Aggregate { arg, .. } => shift(arg, by),
        Expr::Binary { left, right, .. } => {
            shift(left, by);
            shift(right, by);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("1h30m"), Some(5400.0));
        assert_eq!(duration("500ms"), Some(0.5));
        assert_eq!(duration("5"), None);
        assert_eq!(duration(""), None);
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for text in [
            "count(up",
            "up{job=}",
            "up[5x]",
            "up up",
            "",
            "count by (job up)",
        ] {
            assert!(expression(text).is_err(), "{text}");
        }
    }
}
