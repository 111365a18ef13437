//! Text to statements: tokens, bounds that keep every later recursion shallow, and the parser.
//!
//! The parser and the planner recurse over the tree, so no text may make a deep one. Brackets are
//! counted here; a chain without brackets (`a + a + ...`, `x::int::int...`) makes a tree as deep as
//! it is long, so the tokens between two commas are bounded too.

use crate::error::{Checked, Refusal, SourceFile, refuse};
use datafusion_sql::sqlparser::ast::Statement;
use datafusion_sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion_sql::sqlparser::keywords::Keyword;
use datafusion_sql::sqlparser::parser::{Parser, ParserError};
use datafusion_sql::sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer};

/// Longest text of all files together, bytes: a thousand views of a thousand bytes.
pub(crate) const MAX_TEXT_BYTES: usize = 1 << 20;
/// Deepest nesting of brackets; what people write stays below 20.
const MAX_BRACKETS: usize = 60;
/// Most tokens between two commas of one bracket: bounds the depth of chains of operators.
const MAX_STRETCH: usize = 2_000;
/// Deepest recursion that the parser itself allows.
const MAX_PARSER_DEPTH: usize = 100;

/// One statement of a file.
pub(crate) struct Parsed {
    /// Index of its file.
    pub(crate) file: usize,
    /// Its text, as written, without the semicolon.
    pub(crate) text: String,
    /// From its first token to its last.
    pub(crate) at: Span,
    /// Its tree.
    pub(crate) statement: Statement,
    /// Its words, for places that the tree has lost.
    pub(crate) words: Words,
}

/// The tokens of a statement, without white space and comments.
pub(crate) struct Words(Vec<TokenWithSpan>);

impl Words {
    /// The first `word` behind the beginning of `from`; `from` itself if there is none.
    pub(crate) fn find(&self, from: Span, word: &str) -> Span {
        let is_word = |token: &&TokenWithSpan| {
            let text = match &token.token {
                Token::Word(found) if found.quote_style.is_none() => &found.value,
                _ => return false,
            };
            token.span.start >= from.start && text.eq_ignore_ascii_case(word)
        };
        self.0.iter().find(is_word).map_or(from, |token| token.span)
    }

    /// The token right behind `from`; `from` itself if there is none.
    pub(crate) fn next(&self, from: Span) -> Span {
        let behind = |token: &&TokenWithSpan| token.span.start >= from.end;
        self.0.iter().find(behind).map_or(from, |token| token.span)
    }
}

/// The statements of a file, each parsed or refused.
pub(crate) fn statements(index: usize, file: &SourceFile) -> Vec<Checked<Parsed>> {
    let tokens = match Tokenizer::new(&PostgreSqlDialect {}, &file.text).tokenize_with_location() {
        Ok(tokens) => tokens,
        Err(error) => {
            let at = Span::new(error.location, error.location);
            let what = format!("the text cannot be read: {}", lower_first(&error.message));
            return vec![refuse(at, what, "close every quote and comment")];
        }
    };
    let lines = line_starts(&file.text);
    tokens
        .split(|token| token.token == Token::SemiColon)
        .filter_map(|tokens| {
            let written = |token: &&TokenWithSpan| !matches!(token.token, Token::Whitespace(_));
            let first = tokens.iter().find(written)?;
            let last = tokens.iter().rfind(written)?;
            let at = Span::new(first.span.start, last.span.end);
            let parsed = check(tokens, at).and_then(|()| parse(tokens, last.span));
            Some(parsed.map(|statement| Parsed {
                file: index,
                text: slice(&file.text, &lines, at).to_string(),
                at,
                statement,
                words: Words(tokens.iter().filter(written).cloned().collect()),
            }))
        })
        .collect()
}

fn check(tokens: &[TokenWithSpan], at: Span) -> Checked<()> {
    let mut words = tokens.iter().filter_map(|token| match &token.token {
        Token::Word(word) => Some(word.keyword),
        _ => None,
    });
    if words.next() != Some(Keyword::CREATE) {
        return refuse(
            first_word(tokens).unwrap_or(at),
            "a definition is a CREATE TABLE (a stream) or a CREATE VIEW (a feature set)",
            "write CREATE TABLE ... WITH (event_time = '...') or CREATE VIEW ... AS SELECT ...",
        );
    }
    let mut stretches = vec![0];
    for token in tokens {
        let depth = stretches.len();
        match &token.token {
            Token::Whitespace(_) => continue,
            Token::LParen | Token::LBracket | Token::LBrace => stretches.push(0),
            Token::RParen | Token::RBracket | Token::RBrace if depth > 1 => {
                stretches.pop();
            }
            Token::Comma => stretches[depth - 1] = 0,
            Token::Word(word) if is_set_operator(word.keyword) => {
                return refuse(
                    token.span,
                    format!("a feature set is one SELECT; {} is not supported", word.value),
                    "write one view for each query, and list columns by name",
                );
            }
            _ => stretches[depth - 1] += 1,
        }
        if stretches.len() > MAX_BRACKETS {
            return refuse(
                token.span,
                format!("brackets are nested more than {MAX_BRACKETS} deep"),
                "write a flatter expression",
            );
        }
        if stretches.last().is_some_and(|tokens| *tokens > MAX_STRETCH) {
            return refuse(
                token.span,
                format!("there are more than {MAX_STRETCH} words and signs without a comma"),
                "split the expression; write x IN (...) for a long chain of comparisons",
            );
        }
    }
    Ok(())
}

fn first_word(tokens: &[TokenWithSpan]) -> Option<Span> {
    let first = tokens.iter().find(|token| !matches!(token.token, Token::Whitespace(_)))?;
    Some(first.span)
}

fn is_set_operator(keyword: Keyword) -> bool {
    matches!(keyword, Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT)
}

fn parse(tokens: &[TokenWithSpan], last: Span) -> Checked<Statement> {
    let dialect = PostgreSqlDialect {};
    let mut parser = Parser::new(&dialect)
        .with_recursion_limit(MAX_PARSER_DEPTH)
        .with_tokens_with_locations(tokens.to_vec());
    let parsed = parser.parse_statement();
    let next = parser.peek_token();
    match parsed {
        Ok(statement) if next.token == Token::EOF => Ok(statement),
        Ok(_) if matches!(&next.token, Token::Word(word) if word.keyword == Keyword::CREATE) => {
            refuse(next.span, "a statement begins inside another", "end a statement with a ;")
        }
        Ok(_) => refuse(
            next.span,
            format!("the statement should end before {}", next.token),
            "end a statement with a ; and check the clause before this place",
        ),
        Err(error) => Err(syntax_error(error, tokens, last)),
    }
}

fn syntax_error(error: ParserError, tokens: &[TokenWithSpan], last: Span) -> Refusal {
    let message = match error {
        ParserError::ParserError(message) | ParserError::TokenizerError(message) => message,
        ParserError::RecursionLimitExceeded => {
            let what = format!("the statement is nested more than {MAX_PARSER_DEPTH} deep");
            let at = first_word(tokens).unwrap_or(last);
            return Refusal { what, at, help: "write a flatter expression".into() };
        }
    };
    let (message, location) = split_location(&message);
    let token = blamed(tokens, message, location);
    let word = match token.map(|token| &token.token) {
        Some(Token::Word(word)) => word.value.to_uppercase(),
        _ => String::new(),
    };
    let help = match word.as_str() {
        "EXCLUDE" => {
            return Refusal {
                what: "EXCLUDE in a window's frame is not supported".into(),
                at: token.map_or(last, |token| token.span),
                help: "to leave out the current row and its ties, end the frame with \
                       INTERVAL '0.000001 seconds' PRECEDING"
                    .into(),
            };
        }
        "FROM" => "check for a comma that is too many before FROM",
        _ => "the syntax is PostgreSQL's; check this place and the word before it",
    };
    Refusal {
        what: format!("syntax error: {}", lower_first(message)),
        at: token.map_or(last, |token| token.span),
        help: help.into(),
    }
}

/// The token that a message speaks of. After a keyword the parser's place is that of the next one.
fn blamed<'a>(
    tokens: &'a [TokenWithSpan],
    message: &str,
    location: Option<Location>,
) -> Option<&'a TokenWithSpan> {
    let mut written = tokens.iter().filter(|t| !matches!(t.token, Token::Whitespace(_)));
    let mut before = None;
    let found = written.find(|token| {
        let here = Some(token.span.start) == location;
        if !here {
            before = Some(*token);
        }
        here
    })?;
    let named = message.rsplit_once("found: ").map(|(_, word)| word);
    let is_named = |token: &&TokenWithSpan| named == Some(token.token.to_string().as_str());
    before.filter(|before| is_named(before) && !is_named(&found)).or(Some(found))
}

/// Takes the place off the end of a parser's message: the parser knows it only as text.
fn split_location(message: &str) -> (&str, Option<Location>) {
    let Some((what, place)) = message.rsplit_once(" at Line: ") else {
        return (message, None);
    };
    let location = place
        .split_once(", Column: ")
        .and_then(|(line, column)| Some(Location::new(line.parse().ok()?, column.parse().ok()?)));
    (what, location)
}

fn lower_first(message: &str) -> String {
    let mut chars = message.chars();
    chars.next().map_or(String::new(), |first| first.to_lowercase().chain(chars).collect())
}

fn line_starts(text: &str) -> Vec<usize> {
    let after = text.match_indices('\n').map(|(place, _)| place + 1);
    std::iter::once(0).chain(after).collect()
}

/// The part of the text that a span covers; its columns count characters.
fn slice<'a>(text: &'a str, lines: &[usize], span: Span) -> &'a str {
    let offset = |location: Location| {
        let start = lines.get((location.line as usize).saturating_sub(1)).copied();
        let start = start.unwrap_or(text.len());
        let skipped = (location.column as usize).saturating_sub(1);
        text[start..].char_indices().nth(skipped).map_or(text.len(), |(place, _)| start + place)
    };
    text.get(offset(span.start)..offset(span.end)).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_text(text: &str) -> Vec<Result<String, String>> {
        let file = SourceFile { name: "f".into(), text: text.into() };
        let all = statements(0, &file).into_iter();
        all.map(|one| one.map(|p| p.text).map_err(|refusal| refusal.what)).collect()
    }

    #[test]
    fn statements_keep_their_text_as_written() {
        let texts =
            parse_text("-- \u{e9}\n CREATE TABLE t\u{e9} (a INT) ; ;\nCREATE VIEW v AS\n SELECT 1");
        let expected = ["CREATE TABLE t\u{e9} (a INT)", "CREATE VIEW v AS\n SELECT 1"];
        assert_eq!(texts, expected.map(|text| Ok(text.to_string())));
    }

    #[test]
    fn deep_text_is_refused_before_anything_recurses_on_it() {
        let view = |body: &str| {
            let text = format!("CREATE VIEW v AS SELECT {body}");
            crate::compile(&[SourceFile { name: "f".into(), text }])
        };
        for body in [
            "(".repeat(100_000),
            "1 + ".repeat(100_000),
            "- ".repeat(100_000),
            "NOT ".repeat(100_000),
            "CASE WHEN ".repeat(100_000),
            format!("1{}", "::int".repeat(100_000)),
            format!("x{}", "[1]".repeat(100_000)),
            "f(1,2) + ".repeat(100_000),
            "1, 1 UNION SELECT ".repeat(100_000),
        ] {
            let message = view(&body).unwrap_err().to_string();
            assert!(!message.contains("a mistake in Trueup"), "{message}");
        }
    }
}
