//! `#[mfio_rt::init]`, and nothing else. Use it by that name: the crate `mfio-rt` has it.
//!
//! Of a function it needs to know where the signature ends and whether it says `async`, so it reads tokens itself
//! and brings no parser along.

use proc_macro::{Delimiter, Group, Literal, Span, TokenStream, TokenTree};

/// Makes a runtime for an async function, and the current one whenever the function's body is polled.
///
/// The function becomes one that blocks until its body is over, as `main` and tests have to be; its arguments,
/// return type, generics, visibility and attributes stay. What [`mfio_rt::fs`] and the like do in it happens on its
/// runtime; what is spawned from it on other threads finds the process-wide one. [`mfio_rt::global`] tells how, and
/// has the functions that this expands to.
///
/// | argument | executor |
/// |---|---|
/// | none | mfio's own |
/// | `integration = "Tokio"` | tokio, many threads, everything enabled (feature `tokio` of `mfio-rt`) |
/// | `integration = "AsyncIo"` | async-io's, which is smol's (feature `async-io` of `mfio-rt`) |
///
/// Above the attribute of another executor (`#[tokio::main]`, `#[tokio::test]` and the like) the function stays
/// async, and its body runs in that executor.
///
/// [`mfio_rt::fs`]: https://docs.rs/mfio-rt/latest/mfio_rt/fs
/// [`mfio_rt::global`]: https://docs.rs/mfio-rt/latest/mfio_rt/global
///
/// # Examples
///
/// ```ignore
/// use mfio::prelude::v1::*;
/// use mfio_rt::fs;
///
/// #[mfio_rt::init(integration = "Tokio")]
/// async fn main() -> Result<()> {
///     let file = fs::File::open("test.txt").await?;
///     let mut buf = vec![];
///     file.read_to_end(0, &mut buf).await?;
///     Ok(())
/// }
///
/// #[mfio_rt::init]
/// #[test]
/// async fn reads() {
///     assert!(fs::read("/no/such/file").await.is_err());
/// }
/// ```
#[proc_macro_attribute]
pub fn init(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let function = match Function::parse(item.clone()) {
        Ok(function) => function,
        // With the item as it is, so that this is the only complaint.
        Err(error) => return [error.into_tokens(), item].into_iter().collect(),
    };
    let (integration, complaint) = match Integration::parse(arguments) {
        Ok(integration) => (integration, TokenStream::new()),
        Err(error) => (Integration::Own, error.into_tokens()),
    };
    match function.expand(integration) {
        Ok(function) => [complaint, function].into_iter().collect(),
        Err(error) => error.into_tokens(),
    }
}

/// Who polls.
#[derive(Clone, Copy)]
enum Integration {
    Own,
    Tokio,
    AsyncIo,
}

const ARGUMENTS: &str = "`#[mfio_rt::init]` takes no argument (mfio's own executor), \
                         `integration = \"Tokio\"` or `integration = \"AsyncIo\"`";

impl Integration {
    fn parse(arguments: TokenStream) -> Result<Self, Complaint> {
        let all: Vec<TokenTree> = arguments.into_iter().collect();
        let Some(first) = all.first() else { return Ok(Self::Own) };
        let [TokenTree::Ident(name), TokenTree::Punct(equals), value, rest @ ..] = &all[..] else {
            return Err(Complaint::new(first.span(), ARGUMENTS));
        };
        let ends = match rest {
            [] => true,
            [TokenTree::Punct(comma)] => comma.as_char() == ',',
            _ => false,
        };
        if name.to_string() != "integration" || equals.as_char() != '=' || !ends {
            return Err(Complaint::new(first.span(), ARGUMENTS));
        }
        match value.to_string().as_str() {
            "\"Tokio\"" => Ok(Self::Tokio),
            "\"AsyncIo\"" => Ok(Self::AsyncIo),
            _ => Err(Complaint::new(value.span(), ARGUMENTS)),
        }
    }

    /// The function of `mfio_rt::global` that blocks.
    fn run(self) -> &'static str {
        match self {
            Self::Own => "run",
            Self::Tokio => "run_in_tokio",
            Self::AsyncIo => "run_in_async_io",
        }
    }

    /// The function of `mfio_rt::global` for within an executor, if it is one that others bring along.
    fn within(self) -> Option<&'static str> {
        match self {
            Self::Own => None,
            Self::Tokio => Some("within_tokio"),
            Self::AsyncIo => Some("within_async_io"),
        }
    }
}

/// Whose `main` and `test` attributes take an async function and run it.
const EXECUTORS: [&str; 5] = ["tokio", "async_std", "smol_potat", "actix_rt", "actix_web"];

/// An async function, cut where something changes.
struct Function {
    /// Attributes, visibility and what else stands before `async`.
    before: Vec<TokenTree>,
    /// `async`
    keyword: Vec<TokenTree>,
    /// From there to the body: `fn`, name, generics, arguments, return type, bounds.
    signature: Vec<TokenTree>,
    body: Group,
    /// The attribute of an executor among its attributes.
    executor: Option<Span>,
}

impl Function {
    fn parse(item: TokenStream) -> Result<Self, Complaint> {
        let mut all: Vec<TokenTree> = item.into_iter().collect();
        let (attributes, executor) = attributes(&all);
        let Some(function) = find(&all, attributes, "fn") else {
            return Err(Complaint::new(
                first_span(&all),
                "`#[mfio_rt::init]` goes on an async function",
            ));
        };
        let Some(keyword) = find(&all[..function], attributes, "async") else {
            return Err(Complaint::new(
                all[function].span(),
                "`#[mfio_rt::init]` goes on an `async fn`; above an attribute that takes the `async` \
                 away, as `#[tokio::main]` and `#[test]` do, not below it",
            ));
        };
        // Without delimiters where it came through a macro.
        let has_body =
            |body: &Group| matches!(body.delimiter(), Delimiter::Brace | Delimiter::None);
        let body = match all.pop() {
            Some(TokenTree::Group(body)) if has_body(&body) => body,
            last => {
                let span = last.map_or_else(Span::call_site, |last| last.span());
                return Err(Complaint::new(
                    span,
                    "`#[mfio_rt::init]` goes on a function with a body",
                ));
            }
        };
        let signature = all.split_off(keyword + 1);
        let keyword = all.split_off(keyword);
        Ok(Self { before: all, keyword, signature, body, executor })
    }

    fn expand(self, integration: Integration) -> Result<TokenStream, Complaint> {
        let name = match self.executor {
            None => integration.run(),
            Some(executor) => integration.within().ok_or_else(|| {
                Complaint::new(
                    executor,
                    "this executor needs an integration: `#[mfio_rt::init(integration = \"Tokio\")]`, \
                     or \"AsyncIo\"",
                )
            })?,
        };
        let span = self.body.span();
        let (attributes, body) = split_inner_attributes(self.body);
        let mut new_body = attributes;
        new_body.extend(call(name, body, span));
        let mut out: TokenStream = self.before.into_iter().collect();
        if self.executor.is_some() {
            new_body.extend(tokens(".await", span));
            out.extend(self.keyword);
        }
        out.extend(self.signature);
        out.extend([braces(new_body, span)]);
        Ok(out)
    }
}

/// Where the attributes at the start end, and the span of an executor's among them.
fn attributes(all: &[TokenTree]) -> (usize, Option<Span>) {
    let (mut end, mut executor) = (0, None);
    while let [TokenTree::Punct(hash), TokenTree::Group(attribute), ..] = &all[end..]
        && hash.as_char() == '#'
    {
        if is_executor(attribute.stream()) {
            executor = Some(attribute.span());
        }
        end += 2;
    }
    (end, executor)
}

/// Whether an attribute is the `main` or `test` of an executor.
fn is_executor(attribute: TokenStream) -> bool {
    let path: Vec<String> = attribute
        .into_iter()
        .take_while(|token| match token {
            TokenTree::Ident(_) => true,
            TokenTree::Punct(punct) => punct.as_char() == ':',
            _ => false,
        })
        .filter_map(|token| match token {
            TokenTree::Ident(name) => Some(name.to_string()),
            _ => None,
        })
        .collect();
    match &path[..] {
        [first, .., last] => {
            EXECUTORS.contains(&first.as_str()) && matches!(last.as_str(), "main" | "test")
        }
        _ => false,
    }
}

/// Where the word `keyword` stands first, at or after `from`.
fn find(all: &[TokenTree], from: usize, keyword: &str) -> Option<usize> {
    let is_it =
        |token: &TokenTree| matches!(token, TokenTree::Ident(word) if word.to_string() == keyword);
    all.iter().skip(from).position(is_it).map(|at| at + from)
}

fn first_span(all: &[TokenTree]) -> Span {
    all.first().map_or_else(Span::call_site, TokenTree::span)
}

/// Attributes of the function that stand in its body have to stay at its start: those, and the rest.
fn split_inner_attributes(body: Group) -> (TokenStream, TokenTree) {
    if body.delimiter() == Delimiter::None {
        return (TokenStream::new(), body.into());
    }
    let all: Vec<TokenTree> = body.stream().into_iter().collect();
    let mut end = 0;
    while let [TokenTree::Punct(hash), TokenTree::Punct(bang), TokenTree::Group(group), ..] =
        &all[end..]
        && (hash.as_char(), bang.as_char(), group.delimiter()) == ('#', '!', Delimiter::Bracket)
    {
        end += 3;
    }
    let mut all = all.into_iter();
    let attributes = all.by_ref().take(end).collect();
    (attributes, braces(all.collect(), body.span()))
}

/// `::mfio_rt::global::NAME(async move { BODY })`
fn call(name: &str, body: TokenTree, span: Span) -> TokenStream {
    let mut argument = tokens("async move", span);
    argument.extend([body]);
    let mut argument = Group::new(Delimiter::Parenthesis, argument);
    argument.set_span(span);
    let mut call = tokens(&format!("::mfio_rt::global::{name}"), span);
    call.extend([TokenTree::Group(argument)]);
    call
}

fn braces(content: TokenStream, span: Span) -> TokenTree {
    let mut group = Group::new(Delimiter::Brace, content);
    group.set_span(span);
    TokenTree::Group(group)
}

/// The tokens of `code`, which show up as an expansion at `span`.
fn tokens(code: &str, span: Span) -> TokenStream {
    // What does not parse leaves nothing; the pieces here do.
    let tokens: TokenStream = code.parse().unwrap_or_default();
    let span = Span::call_site().located_at(span);
    tokens.into_iter().map(|token| at(token, span)).collect()
}

fn at(mut token: TokenTree, span: Span) -> TokenTree {
    token.set_span(span);
    token
}

/// Why the attribute cannot be where it is, or say what it says.
struct Complaint {
    span: Span,
    message: &'static str,
}

impl Complaint {
    fn new(span: Span, message: &'static str) -> Self {
        Self { span, message }
    }

    /// `::core::compile_error! { "MESSAGE" }`, at the place that is wrong.
    fn into_tokens(self) -> TokenStream {
        let message = at(TokenTree::Literal(Literal::string(self.message)), self.span);
        let mut error = tokens("::core::compile_error!", self.span);
        error.extend([at(braces(message.into(), self.span), self.span)]);
        error
    }
}
