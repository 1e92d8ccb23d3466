//! `json`: typed messages for an embedding program; each text frame is one JSON value.
//!
//! ```text
//!   upgrade ──▶ on_open ──▶ text ──▶ In ──▶ on_message ──▶ Some(Out) ──▶ text
//!   State::default()         └── not an In ──▶ on_error: an error text, and the connection stays open
//! ```
//!
//! ```
//! use dunlin::dialect::{Json, JsonHandler};
//! use dunlin::hub::Context;
//! use serde_json::{Value, json};
//!
//! /// Adds up the numbers that each client sends.
//! struct Sum;
//!
//! impl JsonHandler for Sum {
//!     type In = u64;
//!     type Out = Value;
//!     type State = u64;
//!
//!     fn on_message(&mut self, _: &mut Context<'_>, sum: &mut u64, number: u64) -> Option<Value> {
//!         *sum = sum.saturating_add(number);
//!         Some(json!({ "sum": *sum }))
//!     }
//! }
//!
//! let handler = Json::new(Sum); // a `dunlin::Handler`, for any route
//! # _ = handler;
//! ```

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{bad_message, send_error};
use crate::hub::{CloseInfo, Context, Handler, Locals, Outcome, Reply, Request, Ticket, Upgrade};
use crate::ws::Message;

/// Application code behind a route that speaks JSON. Wrap it in [`Json`] to make it a [`Handler`].
pub trait JsonHandler {
    /// What clients send.
    type In: DeserializeOwned;
    /// What they get.
    type Out: Serialize;
    /// What is kept per connection, from the handshake on.
    type State: Default;

    /// An opening handshake; see [`Handler::on_upgrade`]. What it learns from the request goes into `state`.
    fn on_upgrade(
        &mut self,
        cx: &mut Context<'_>,
        state: &mut Self::State,
        request: &Request<'_>,
    ) -> Upgrade {
        _ = (cx, state, request);
        Upgrade::accept()
    }

    /// The session is open.
    fn on_open(&mut self, cx: &mut Context<'_>, state: &mut Self::State) {
        _ = (cx, state);
    }

    /// A message arrived. What comes back is the reply; more is sent with [`send_json`].
    fn on_message(
        &mut self,
        cx: &mut Context<'_>,
        state: &mut Self::State,
        message: Self::In,
    ) -> Option<Self::Out>;

    /// A message that is no [`In`](Self::In), or a reply that cannot be written. The default tells the client
    /// `{"type":"error","message":…}` and counts a bad message; the connection stays open.
    fn on_error(&mut self, cx: &mut Context<'_>, state: &mut Self::State, error: &JsonError) {
        _ = state;
        match error {
            JsonError::Binary | JsonError::Message(_) => bad_message(cx, &error.to_string()),
            // Not the client's fault, and what is wrong is none of its business.
            JsonError::Reply(_) => {
                cx.count_refusal("json_reply");
                send_error(cx, "the reply cannot be written");
            }
        }
    }

    /// The session is over; its state goes with it.
    fn on_close(&mut self, cx: &mut Context<'_>, state: Self::State, close: CloseInfo<'_>) {
        _ = (cx, state, close);
    }

    /// A plain HTTP request on this route; see [`Handler::on_request`].
    fn on_request(&mut self, cx: &mut Context<'_>, request: &Request<'_>) -> Reply {
        // An echo has no answer of its own for plain requests: this is the trait's 426.
        super::Echo::default().on_request(cx, request)
    }

    /// An effect of this session came to its end; see [`Handler::on_outcome`].
    fn on_outcome(
        &mut self,
        cx: &mut Context<'_>,
        state: &mut Self::State,
        ticket: Ticket,
        outcome: Outcome<'_>,
    ) {
        _ = (cx, state, ticket, outcome);
    }

    /// What tells a slow subscriber that it missed something; see [`Handler::gap_marker`].
    fn gap_marker(&self, missed: Option<u32>) -> Option<String> {
        _ = missed;
        None
    }

    /// The name space of its channels; see [`Handler::space`].
    fn space(&self) -> &str {
        "app"
    }
}

/// What went wrong between bytes and values.
#[derive(Debug)]
#[non_exhaustive]
pub enum JsonError {
    /// A binary message: JSON travels as text here.
    Binary,
    /// A text that is not the expected value.
    Message(serde_json::Error),
    /// A reply that cannot be written as JSON: a mistake of the program.
    Reply(serde_json::Error),
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Binary => f.write_str("send JSON as a text message, not as binary"),
            Self::Message(why) => write!(f, "not the expected JSON: {why}"),
            Self::Reply(why) => write!(f, "the reply cannot be written as JSON: {why}"),
        }
    }
}

impl std::error::Error for JsonError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Binary => None,
            Self::Message(why) | Self::Reply(why) => Some(why),
        }
    }
}

/// Makes a [`JsonHandler`] a [`Handler`].
#[derive(Debug)]
pub struct Json<H: JsonHandler> {
    handler: H,
    states: Locals<H::State>,
}

impl<H: JsonHandler> Json<H> {
    /// The handler of a route.
    pub fn new(handler: H) -> Self {
        Self {
            handler,
            states: Locals::default(),
        }
    }
}

impl<H: JsonHandler> Handler for Json<H> {
    fn on_upgrade(&mut self, cx: &mut Context<'_>, request: &Request<'_>) -> Upgrade {
        let mut state = H::State::default();
        let upgrade = self.handler.on_upgrade(cx, &mut state, request);
        if let Upgrade::Accept(_) = upgrade {
            self.states.insert(cx, state);
        }
        upgrade
    }

    fn on_open(&mut self, cx: &mut Context<'_>) {
        if let Some(state) = self.states.get_mut(cx) {
            self.handler.on_open(cx, state);
        }
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: Message<'_>) {
        let Some(state) = self.states.get_mut(cx) else {
            return;
        };
        let parsed = match message {
            Message::Text(text) => serde_json::from_str(text).map_err(JsonError::Message),
            Message::Binary(_) => Err(JsonError::Binary),
        };
        let outcome = parsed.and_then(|parsed| match self.handler.on_message(cx, state, parsed) {
            Some(reply) => send_json(cx, &reply).map(drop),
            None => Ok(()),
        });
        if let Err(error) = outcome {
            self.handler.on_error(cx, state, &error);
        }
    }

    fn on_close(&mut self, cx: &mut Context<'_>, close: CloseInfo<'_>) {
        if let Some(state) = self.states.remove(cx) {
            self.handler.on_close(cx, state, close);
        }
    }

    fn on_request(&mut self, cx: &mut Context<'_>, request: &Request<'_>) -> Reply {
        self.handler.on_request(cx, request)
    }

    fn on_outcome(&mut self, cx: &mut Context<'_>, ticket: Ticket, outcome: Outcome<'_>) {
        if let Some(state) = self.states.get_mut(cx) {
            self.handler.on_outcome(cx, state, ticket, outcome);
        }
    }

    fn gap_marker(&self, missed: Option<u32>) -> Option<String> {
        self.handler.gap_marker(missed)
    }

    fn space(&self) -> &str {
        self.handler.space()
    }
}

/// Sends a value to this session as JSON text. `Ok(false)`: it takes nothing more.
///
/// # Errors
/// [`JsonError::Reply`] for a value that JSON cannot express, such as a map whose keys are no strings.
pub fn send_json<T: Serialize + ?Sized>(
    cx: &mut Context<'_>,
    value: &T,
) -> Result<bool, JsonError> {
    let text = serde_json::to_string(value).map_err(JsonError::Reply)?;
    Ok(cx.send_text(&text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::testing::{Got, House};
    use crate::ws::CloseCode;
    use serde_json::{Value, json};
    use std::collections::BTreeMap;

    /// Adds up the `n` of each message; a state per connection.
    #[derive(Default)]
    struct Sum {
        closed_with: Vec<u64>,
    }

    impl JsonHandler for Sum {
        type In = BTreeMap<String, u64>;
        type Out = Value;
        type State = u64;

        fn on_upgrade(
            &mut self,
            _: &mut Context<'_>,
            state: &mut u64,
            request: &Request<'_>,
        ) -> Upgrade {
            match request.query("from").map(|from| from.parse()) {
                None => Upgrade::accept(),
                Some(Ok(from)) => {
                    *state = from;
                    Upgrade::accept()
                }
                Some(Err(_)) => Upgrade::refuse(422, "from is not a number"),
            }
        }

        fn on_message(
            &mut self,
            _: &mut Context<'_>,
            sum: &mut u64,
            message: BTreeMap<String, u64>,
        ) -> Option<Value> {
            *sum += message.get("n")?;
            Some(json!({ "sum": *sum }))
        }

        fn on_close(&mut self, cx: &mut Context<'_>, sum: u64, _: CloseInfo<'_>) {
            self.closed_with.push(sum);
            _ = cx.publish("sums", Message::Text(&sum.to_string()));
        }

        fn on_open(&mut self, cx: &mut Context<'_>, _: &mut u64) {
            _ = cx.subscribe("sums");
        }
    }

    #[test]
    fn lib_3_a_codec_error_is_told_and_the_connection_stays() {
        let mut house = House::new();
        let route = house.route("/sum", Json::new(Sum::default()));
        let client = house.join(route, "/sum", &[]);
        house.text(client, "{\"n\":");
        house.text(client, "{\"n\":\"one\"}");
        house.binary(client, b"{\"n\":1}");
        let errors = house.got(client);
        assert_eq!(errors.len(), 3);
        for error in errors {
            assert!(
                error
                    .text()
                    .starts_with("{\"type\":\"error\",\"message\":\""),
                "{error:?}"
            );
        }
        house.text(client, "{\"n\":2}");
        house.text(client, "{}");
        assert_eq!(house.got(client), [Got::Text("{\"sum\":2}".into())]);
        assert_eq!(house.closed(client), None);
    }

    #[test]
    fn lib_4_a_handshake_may_be_refused_with_its_own_status() {
        let mut house = House::new();
        let route = house.route("/sum", Json::new(Sum::default()));
        assert_eq!(
            house
                .upgrade(route, "/sum?from=x", &[])
                .map_err(|r| r.status),
            Err(422)
        );
        house.is_empty();
    }

    #[test]
    fn lib_5_states_are_apart() {
        let mut house = House::new();
        let route = house.route("/sum", Json::new(Sum::default()));
        let a = house.join(route, "/sum", &[]);
        let b = house.join(route, "/sum?from=100", &[]);
        for client in [a, b, a] {
            house.text(client, "{\"n\":1}");
        }
        let sums = |got: Vec<Got>| got.iter().map(|g| g.text().to_owned()).collect::<Vec<_>>();
        assert_eq!(sums(house.got(a)), ["{\"sum\":1}", "{\"sum\":2}"]);
        assert_eq!(sums(house.got(b)), ["{\"sum\":101}"]);
        house.leave(a);
        assert_eq!(sums(house.got(b)), ["2"], "the last state goes to on_close");
        house.leave(b);
        house.is_empty();
    }

    #[test]
    fn too_many_errors_end_with_1008() {
        let mut house = House::new();
        let route = house.route("/sum", Json::new(Sum::default()));
        let client = house.join(route, "/sum", &[]);
        for _ in 0..21 {
            house.text(client, "x");
        }
        assert_eq!(house.got(client).len(), 20);
        assert_eq!(house.closed(client), Some(CloseCode::POLICY));
    }
}
