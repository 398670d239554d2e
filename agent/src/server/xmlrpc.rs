//! XML-RPC, as much of it as the supervisor speaks.
//!
//! Why our own: it is two hundred lines, and the other side is a program of the server's, so the reader must be strict
//! about what it takes, bounded in size and depth, and give faults as values. Entities other than the five of XML are
//! refused, hence no entity can expand.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use quick_xml::Reader;
use quick_xml::events::Event;

/// The largest answer that is read, in bytes.
pub const MAX_ANSWER: usize = 4 << 20;
/// How deep arrays and structs may be nested.
pub const MAX_DEPTH: usize = 16;

/// A value of a call or an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `<int>`, `<i4>` or `<i8>`
    Int(i64),
    /// `<boolean>`
    Bool(bool),
    /// `<string>`, or text without a type
    Str(String),
    /// `<double>`
    Double(f64),
    /// `<dateTime.iso8601>`, as written
    DateTime(String),
    /// `<base64>`, as written
    Base64(String),
    /// `<nil/>`
    Nil,
    /// `<array>`
    Array(Vec<Value>),
    /// `<struct>`
    Struct(BTreeMap<String, Value>),
}

impl Value {
    /// The number, if it is one.
    #[must_use]
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// The text, if it is text.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The member of a struct.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        match self {
            Self::Struct(members) => members.get(name),
            _ => None,
        }
    }
}

/// What the other side refused, and why (`facts/pmm.md` 8.1 has the supervisor's codes).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The supervisor's number for it.
    pub code: i64,
    /// Its words.
    pub text: String,
}

impl Fault {
    /// There is no such program.
    pub const BAD_NAME: i64 = 10;
    /// The program could not be started, or had ended by the time of the answer.
    pub const SPAWN_ERROR: i64 = 50;
    /// The program runs already.
    pub const ALREADY_STARTED: i64 = 60;
    /// The program does not run.
    pub const NOT_RUNNING: i64 = 70;
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (fault {})", self.text, self.code)
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// The value that the method returned.
    Value(Value),
    /// The method refused.
    Fault(Fault),
}

/// The body of a call.
#[must_use]
pub fn encode_call(method: &str, params: &[Value]) -> String {
    let mut body = String::from("<?xml version=\"1.0\"?><methodCall><methodName>");
    escape(&mut body, method);
    body.push_str("</methodName><params>");
    for param in params {
        body.push_str("<param>");
        encode_value(&mut body, param);
        body.push_str("</param>");
    }
    body.push_str("</params></methodCall>");
    body
}

fn encode_value(out: &mut String, value: &Value) {
    let mut leaf = |tag: &str, text: &str| {
        out.push_str("<value><");
        out.push_str(tag);
        out.push('>');
        escape(out, text);
        out.push_str("</");
        out.push_str(tag);
        out.push_str("></value>");
    };
    match value {
        Value::Int(number) => leaf("int", &number.to_string()),
        Value::Bool(flag) => leaf("boolean", if *flag { "1" } else { "0" }),
        Value::Str(text) => leaf("string", text),
        Value::Double(number) => leaf("double", &number.to_string()),
        Value::DateTime(text) => leaf("dateTime.iso8601", text),
        Value::Base64(text) => leaf("base64", text),
        Value::Nil => out.push_str("<value><nil/></value>"),
        Value::Array(items) => {
            out.push_str("<value><array><data>");
            items.iter().for_each(|item| encode_value(out, item));
            out.push_str("</data></array></value>");
        }
        Value::Struct(members) => {
            out.push_str("<value><struct>");
            for (name, member) in members {
                out.push_str("<member><name>");
                escape(out, name);
                out.push_str("</name>");
                encode_value(out, member);
                out.push_str("</member>");
            }
            out.push_str("</struct></value>");
        }
    }
}

/// Escapes what XML would take as markup, and carriage returns, which it would drop.
fn escape(out: &mut String, text: &str) {
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\r' => out.push_str("&#13;"),
            _ => out.push(letter),
        }
    }
}

/// Reads the body of an answer.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub fn decode_answer(body: &[u8]) -> Result<Answer, String> {
    if body.len() > MAX_ANSWER {
        return Err(format!("it is larger than {MAX_ANSWER} bytes"));
    }
    let text = std::str::from_utf8(body).map_err(|error| format!("it is not UTF-8: {error}"))?;
    let mut parser = Parser {
        reader: Reader::from_str(text),
        waiting: VecDeque::new(),
    };
    parser.open("methodResponse")?;
    let answer = match parser.next()? {
        Token::Open(tag) if tag == "params" => {
            parser.open("param")?;
            let value = parser.value(0)?;
            parser.close("param")?;
            parser.close("params")?;
            Answer::Value(value)
        }
        Token::Open(tag) if tag == "fault" => {
            let value = parser.value(0)?;
            parser.close("fault")?;
            let code = value.get("faultCode").and_then(Value::as_int);
            let text = value.get("faultString").and_then(Value::as_str);
            match (code, text) {
                (Some(code), Some(text)) => Answer::Fault(Fault {
                    code,
                    text: text.to_owned(),
                }),
                _ => return Err("the fault has no code or no text".into()),
            }
        }
        other => return Err(format!("{other} stands where params or a fault belong")),
    };
    parser.close("methodResponse")?;
    match parser.next()? {
        Token::End => Ok(answer),
        other => Err(format!("{other} follows the answer")),
    }
}

#[derive(Debug, PartialEq)]
enum Token {
    Open(String),
    Close(String),
    Text(String),
    End,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(tag) => write!(f, "<{tag}>"),
            Self::Close(tag) => write!(f, "</{tag}>"),
            Self::Text(_) => f.write_str("text"),
            Self::End => f.write_str("the end"),
        }
    }
}

struct Parser<'a> {
    reader: Reader<&'a [u8]>,
    waiting: VecDeque<Token>,
}

impl Parser<'_> {
    /// The next token, with text joined across references, and white space between tags dropped.
    fn next(&mut self) -> Result<Token, String> {
        match self.raw()? {
            Token::Text(text) if text.trim().is_empty() => self.next(),
            token => Ok(token),
        }
    }

    /// The next token with white space kept.
    fn raw(&mut self) -> Result<Token, String> {
        if let Some(token) = self.waiting.pop_front() {
            return Ok(token);
        }
        let mut text = String::new();
        loop {
            let token = match self
                .reader
                .read_event()
                .map_err(|error| error.to_string())?
            {
                Event::Start(tag) => {
                    if tag.attributes().next().is_some() {
                        return Err("a tag has attributes".into());
                    }
                    Token::Open(tag.name().as_ref().to_owned())
                }
                Event::End(tag) => Token::Close(tag.name().as_ref().to_owned()),
                Event::Empty(tag) => {
                    if tag.attributes().next().is_some() {
                        return Err("a tag has attributes".into());
                    }
                    let tag = tag.name().as_ref().to_owned();
                    self.waiting.push_front(Token::Close(tag.clone()));
                    Token::Open(tag)
                }
                Event::Text(part) => {
                    text.push_str(&part.xml10_content());
                    continue;
                }
                Event::CData(part) => {
                    text.push_str(&part.xml10_content());
                    continue;
                }
                Event::GeneralRef(reference) => {
                    let number = reference
                        .resolve_char_ref()
                        .map_err(|error| error.to_string())?;
                    text.push(match number {
                        Some(letter) => letter,
                        None => match &*reference {
                            "amp" => '&',
                            "lt" => '<',
                            "gt" => '>',
                            "quot" => '"',
                            "apos" => '\'',
                            _ => return Err("it refers to an entity that XML does not have".into()),
                        },
                    });
                    continue;
                }
                Event::Decl(_) | Event::Comment(_) => continue,
                Event::DocType(_) => return Err("it has a document type".into()),
                Event::PI(_) => return Err("it has a processing instruction".into()),
                Event::Eof => Token::End,
            };
            if text.is_empty() {
                return Ok(token);
            }
            self.waiting.push_front(token);
            return Ok(Token::Text(text));
        }
    }

    fn open(&mut self, tag: &str) -> Result<(), String> {
        match self.next()? {
            Token::Open(found) if found == tag => Ok(()),
            other => Err(format!("{other} stands where <{tag}> belongs")),
        }
    }

    fn close(&mut self, tag: &str) -> Result<(), String> {
        match self.next()? {
            Token::Close(found) if found == tag => Ok(()),
            other => Err(format!("{other} stands where </{tag}> belongs")),
        }
    }

    /// All text up to the closing tag.
    fn text(&mut self, tag: &str) -> Result<String, String> {
        match self.raw()? {
            Token::Close(found) if found == tag => Ok(String::new()),
            Token::Text(text) => self.close(tag).map(|()| text),
            other => Err(format!("{other} stands inside <{tag}>")),
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, String> {
        if depth > MAX_DEPTH {
            return Err(format!("values are nested deeper than {MAX_DEPTH}"));
        }
        self.open("value")?;
        let tag = match self.raw()? {
            Token::Close(tag) if tag == "value" => return Ok(Value::Str(String::new())),
            Token::Text(text) => match self.raw()? {
                Token::Close(tag) if tag == "value" => return Ok(Value::Str(text)),
                Token::Open(tag) if text.trim().is_empty() => tag,
                other => return Err(format!("{other} stands beside the text of a value")),
            },
            Token::Open(tag) => tag,
            other => return Err(format!("{other} stands inside <value>")),
        };
        let value = match tag.as_str() {
            "int" | "i4" | "i8" => {
                let text = self.text(&tag)?;
                Value::Int(
                    text.trim()
                        .parse()
                        .map_err(|_| "a number is none".to_owned())?,
                )
            }
            "boolean" => match self.text(&tag)?.trim() {
                "0" => Value::Bool(false),
                "1" => Value::Bool(true),
                _ => return Err("a boolean is neither 0 nor 1".into()),
            },
            "double" => {
                let text = self.text(&tag)?;
                Value::Double(
                    text.trim()
                        .parse()
                        .map_err(|_| "a number is none".to_owned())?,
                )
            }
            "string" => Value::Str(self.text(&tag)?),
            "dateTime.iso8601" => Value::DateTime(self.text(&tag)?),
            "base64" => Value::Base64(self.text(&tag)?),
            "nil" => {
                self.close("nil")?;
                Value::Nil
            }
            "array" => self.array(depth)?,
            "struct" => self.members(depth)?,
            other => return Err(format!("<{other}> is no type of XML-RPC")),
        };
        self.close("value")?;
        Ok(value)
    }

    fn array(&mut self, depth: usize) -> Result<Value, String> {
        self.open("data")?;
        let mut items = Vec::new();
        loop {
            match self.next()? {
                Token::Close(tag) if tag == "data" => break,
                token => self.waiting.push_front(token),
            }
            items.push(self.value(depth + 1)?);
        }
        self.close("array")?;
        Ok(Value::Array(items))
    }

    fn members(&mut self, depth: usize) -> Result<Value, String> {
        let mut members = BTreeMap::new();
        loop {
            match self.next()? {
                Token::Close(tag) if tag == "struct" => return Ok(Value::Struct(members)),
                Token::Open(tag) if tag == "member" => {}
                other => return Err(format!("{other} stands inside <struct>")),
            }
            self.open("name")?;
            let name = self.text("name")?;
            let value = self.value(depth + 1)?;
            self.close("member")?;
            if members.insert(name, value).is_some() {
                return Err("a struct has a member twice".into());
            }
        }
    }
}

/// See [`crate::fuzzing`].
#[doc(hidden)]
pub mod fuzzing {
    use super::{Answer, MAX_DEPTH, Value, decode_answer, encode_value};

    fn depth(value: &Value) -> usize {
        match value {
            Value::Array(values) => 1 + values.iter().map(depth).max().unwrap_or(0),
            Value::Struct(members) => 1 + members.values().map(depth).max().unwrap_or(0),
            _ => 0,
        }
    }

    /// An answer of the supervisor is read or refused, is never deeper than the stack bears, and
    /// what was read once comes back when it is written and read again.
    pub fn answer(bytes: &[u8]) {
        let Ok(Answer::Value(value)) = decode_answer(bytes) else {
            return;
        };
        assert!(depth(&value) <= MAX_DEPTH);
        let mut text = String::from("<methodResponse><params><param>");
        encode_value(&mut text, &value);
        text.push_str("</param></params></methodResponse>");
        let again = decode_answer(text.as_bytes());
        // As text: a number that is none does not equal itself.
        assert_eq!(
            format!("{again:?}"),
            format!("{:?}", Ok::<_, String>(Answer::Value(value)))
        );
    }
}

#[cfg(test)]
#[path = "xmlrpc_tests.rs"]
mod tests;
