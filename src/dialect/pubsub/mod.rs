//! `pubsub`: a WebSocket, or a response that does not end, subscribes to a channel; a `POST` publishes to it.
//!
//! | request | answer |
//! | --- | --- |
//! | WebSocket `/ch/{channel}` | every publication from now on |
//! | … `?rewind=10`, `30s`, `all` | first those that the channel keeps: so many, so old at most, all |
//! | … `?positions` | in envelopes that say where each stands, behind `{"type":"subscribed",…}` |
//! | … `?since=POSITION` | likewise, and first those behind that position: `"recovered":true`, or `false` and a gap marker |
//! | … `?types=goal,card`, `?tags=red,blue` | only what is called or tagged so: see `filters.rs` |
//! | `POST /ch/{channel}`, any body | 200 (or 201 and 202, see [`PubSubOptions::nchan_statuses`]) `{"offset":1,"epoch":"8 hex","position":"…","receivers":2}` |
//! | `POST /ch` with `{"channels":["a","b"],"data":…}` | 200 `{"results":[{"channel":"a","offset":…},…]}` |
//! | `POST /ch` with `{"batch":[{"channel":"a","data":…},{"channels":[…],"data":…}]}` | the same |
//! | `GET /ch/{channel}?info`, or `Accept: application/json` | 200 `{"channel":"a","subscribers":2}` |
//! | `GET /ch/{channel}` otherwise | every publication from now on, as events or lines, or 426: see `wanted.rs` |
//! | `GET /ch/{channel}?presence` | who is in: see `presence.rs` |
//! | `/ch/a.*`, `/ch/a.>` | all channels with such names (feature `wildcards`): see `patterns.rs` |
//! | `OPTIONS` | what a page may do (CORS) |
//! | another method | 405 with `Allow` |
//!
//! A key or token that is limited (`token/`) has to allow `subscribe` for the first, `publish` for all `POST`s, and any
//! of `subscribe`, `publish` and `presence` for the information: else it is 403.
//!
//! A body goes out as it came in: as text if it is UTF-8, as binary if it is not or if its content type is
//! `application/octet-stream`. A `data` that is a JSON string goes out as the text it stands for, any other value as
//! the bytes it is written with. **A request is carried out whole or not at all**: every name, every item and the
//! memory they need are checked before the first of them is published.

mod begin;
#[cfg(feature = "presence")]
mod callback;
#[cfg(feature = "filters")]
mod filters;
#[cfg(not(feature = "filters"))]
#[path = "no_filters.rs"]
mod filters;
#[cfg(feature = "wildcards")]
mod patterns;
#[cfg(not(feature = "wildcards"))]
#[path = "no_patterns.rs"]
mod patterns;
#[cfg(not(feature = "presence"))]
#[path = "no_presence.rs"]
mod presence;
#[cfg(feature = "presence")]
mod presence;
mod wanted;

#[cfg(feature = "presence")]
pub use callback::PubSubCallback;

use std::borrow::Cow;
use std::fmt::Write;

use serde_json::value::RawValue;

use super::cors;
use super::members::{self, NoList, push_string};
use super::permits::{Heard, hear_token, permit};
use super::{Echo, bad_message, bad_request, gap_marker, has_room, only, send_error, unavailable};
use crate::http::Response;
use crate::hub::{
    Accept, CloseInfo, Context, Handler, Joined, Locals, NameError, Position, PublishError,
    Published, Reply, Request, Stream, SubscribeError, Upgrade, Who, check_channel_name,
    check_event, is_pattern,
};
#[cfg(feature = "presence")]
use crate::hub::{Outcome, PresenceChange, Ticket};
use crate::token::Action;
use crate::ws::{CloseCode, Message};
use begin::{Begin, subscribed};
use filters::Tags;
use wanted::{Wanted, wanted};

/// How [`PubSub`] behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PubSubOptions {
    /// Publish what a subscriber sends over its WebSocket.
    /// Off: who may listen is often not who may speak, and `POST` has an answer that says what became of it.
    pub clients_publish: bool,
    /// Most channels that one request names, all its publications together.
    /// 1,000: a request must not keep the loop from its other connections for long.
    pub channels_max: usize,
    /// Most publications in one batch. 1,000, for the same reason.
    pub batch_max: usize,
    /// `POST` to a channel answers 201 if somebody was subscribed and 202 if nobody was, as nchan does. Off: 200, and the
    /// body says how many there were.
    pub nchan_statuses: bool,
    /// Most members of a channel that are listed and whose coming and going is told; of more there are counts.
    /// 100: what a person can look at, and a change of one is a message to all.
    #[cfg(feature = "presence")]
    pub presence_list_max: usize,
    /// Most bytes of what a client says of itself in `member`. 1,024: a name, a colour, where the picture is.
    #[cfg(feature = "presence")]
    pub presence_info_bytes_max: usize,
}

impl Default for PubSubOptions {
    fn default() -> Self {
        Self {
            clients_publish: false,
            channels_max: 1000,
            batch_max: 1000,
            nchan_statuses: false,
            #[cfg(feature = "presence")]
            presence_list_max: 100,
            #[cfg(feature = "presence")]
            presence_info_bytes_max: 1024,
        }
    }
}

/// Channels for `/ch/{channel}`; the same handler without the variable, at `/ch`, takes several at once.
#[derive(Debug, Default)]
pub struct PubSub {
    options: PubSubOptions,
    /// Where each session may speak, or what it has come for: empty unless clients publish, or bring their token later.
    seats: Locals<Seat>,
    #[cfg(feature = "presence")]
    crowds: presence::Crowds,
    #[cfg(feature = "presence")]
    callbacks: callback::Callbacks,
}

impl PubSub {
    /// Publish and subscribe with these options.
    pub fn new(options: PubSubOptions) -> Self {
        Self {
            options,
            ..Self::default()
        }
    }

    /// Tells an application of channels that get their first subscriber and lose their last.
    #[cfg(feature = "presence")]
    #[must_use]
    pub fn callback(mut self, callback: PubSubCallback) -> Self {
        self.callbacks = callback::Callbacks::new(callback);
        self
    }

    /// A session has shown what it may do and gets the channel that it has come for.
    fn begin(&mut self, cx: &mut Context<'_>) {
        let Some(seat) = self.seats.get(cx) else {
            return;
        };
        if permit_all(cx, seat.begin.actions(), &seat.channel).is_err() {
            let why = "your token does not allow to subscribe to this channel";
            cx.close(CloseCode::FORBIDDEN, why);
        } else if let Err(refusal) = admit(cx, &seat.channel) {
            let why = refusal.detail().unwrap_or_default();
            cx.close(CloseCode::FORBIDDEN, why);
        } else if let Err(why) = enter(cx, &seat.channel, seat.begin) {
            cx.close(CloseCode::TRY_LATER, &why.to_string());
        } else if let Some(wish) = &seat.wish
            && let Err(refusal) = wish.grant(cx, &seat.channel)
        {
            let why = refusal.detail().unwrap_or_default();
            cx.close(CloseCode::FORBIDDEN, why);
        }
        if !clients_publish(cx, &seat.channel, &self.options) {
            self.seats.remove(cx);
        }
    }

    fn publish_one(&self, cx: &mut Context<'_>, request: &Request<'_>, channel: &str) -> Response {
        let event = match event_of(request) {
            Ok(event) => event,
            Err(why) => return bad_request(cx, why),
        };
        let tags = match Tags::read(request) {
            Ok(tags) => tags,
            Err(why) => return bad_request(cx, &why),
        };
        match filters::publish(cx, channel, event, &tags, message_of(request)) {
            Ok(published) => {
                let mut json = String::from("{");
                push_published(&mut json, published);
                json.push('}');
                let status = match (self.options.nchan_statuses, published.receivers) {
                    (false, _) => 200,
                    (true, 0) => 202,
                    (true, _) => 201,
                };
                Response::json(status, json)
            }
            Err(why) => refusal(why),
        }
    }

    /// What `POST /ch` does with its body.
    pub(super) fn publish_many(&self, cx: &mut Context<'_>, body: &[u8]) -> Response {
        let publications = match self.read(body) {
            Ok(publications) => publications,
            Err(why) => return bad_request(cx, &why),
        };
        let each = || {
            publications.iter().flat_map(|p| {
                p.channels
                    .iter()
                    .map(|c| (&**c, &*p.text, p.event.as_deref(), &p.tags))
            })
        };
        for (channel, ..) in each() {
            if let Err(refusal) = permit(cx, Action::Publish, channel) {
                return refusal;
            }
        }
        let heard: Vec<usize> = each()
            .filter(|(c, ..)| cx.is_heard(c))
            .map(|(_, text, ..)| text.len())
            .collect();
        if let Err(why) = has_room(cx, &heard) {
            return unavailable(&why);
        }
        let mut json = String::from("{\"results\":[");
        for (channel, text, event, tags) in each() {
            match filters::publish(cx, channel, event, tags, Message::Text(text)) {
                Ok(published) => {
                    json.push_str("{\"channel\":");
                    push_string(&mut json, channel);
                    json.push(',');
                    push_published(&mut json, published);
                    json.push_str("},");
                }
                // Names and memory were checked; should they fail now, nothing may look like a success.
                Err(why) => return refusal(why),
            }
        }
        if json.ends_with(',') {
            json.pop();
        }
        json.push_str("]}");
        Response::json(200, json)
    }

    /// Everything the body asks for, checked.
    fn read<'a>(&self, body: &'a [u8]) -> Result<Vec<Publication<'a>>, String> {
        let text = std::str::from_utf8(body).map_err(|_| "the body is not UTF-8".to_owned())?;
        let [batch, of_one @ ..] = members::members(
            text,
            ["batch", "channel", "channels", "data", "event", "tags"],
        )
        .map_err(|why| why.to_string())?;
        let Some(batch) = batch else {
            return Ok(vec![self.publication(of_one)?]);
        };
        if of_one.iter().any(Option::is_some) {
            let why = "beside \"batch\" there may be no \"channel\", \"channels\", \"data\", \"event\" or \"tags\"";
            return Err(why.into());
        }
        let items =
            members::items(batch, self.options.batch_max).map_err(|why| no_list("batch", why))?;
        let mut publications: Vec<Publication<'_>> = Vec::with_capacity(items.len());
        let mut named = 0;
        for (at, item) in items.into_iter().enumerate() {
            let publication =
                members::members(item.get(), ["channel", "channels", "data", "event", "tags"])
                    .map_err(|why| why.to_string())
                    .and_then(|members| self.publication(members));
            let publication = publication.map_err(|why| format!("batch[{at}]: {why}"))?;
            named += publication.channels.len();
            if named > self.options.channels_max {
                return Err(no_list(
                    "channels of the batch",
                    NoList::TooLong(self.options.channels_max),
                ));
            }
            publications.push(publication);
        }
        Ok(publications)
    }

    fn publication<'a>(
        &self,
        [channel, channels, data, event, tags]: [Option<&'a RawValue>; 5],
    ) -> Result<Publication<'a>, String> {
        let channels = match (channel, channels) {
            (Some(one), None) => vec![one],
            (None, Some(many)) => members::items(many, self.options.channels_max)
                .map_err(|why| no_list("channels", why))?,
            _ => return Err("either \"channel\" or \"channels\" is needed".into()),
        };
        let channels = channels
            .into_iter()
            .map(|raw| {
                let name = members::string(raw).ok_or("a channel name must be a string")?;
                check_published_name(&name).map_err(|why| why.to_string())?;
                Ok(name)
            })
            .collect::<Result<Vec<_>, String>>()?;
        let data = data.ok_or("\"data\" is missing")?;
        let text = if data.get().starts_with('"') {
            members::string(data).ok_or("\"data\" contains half a surrogate pair")?
        } else {
            Cow::Borrowed(data.get())
        };
        let event = match event.map(members::string) {
            None => None,
            Some(None) => return Err("\"event\" must be a string".into()),
            Some(Some(event)) => {
                check_event(&event).map_err(|why| format!("\"event\": {why}"))?;
                Some(event)
            }
        };
        Ok(Publication {
            channels,
            text,
            event,
            tags: Tags::of(tags)?,
        })
    }
}

impl Handler for PubSub {
    fn on_upgrade(&mut self, cx: &mut Context<'_>, request: &Request<'_>) -> Upgrade {
        let Some(channel) = request.param(CHANNEL) else {
            let why = "name the channel to subscribe to in the path";
            return Upgrade::refuse(400, why);
        };
        if let Err(why) = check_name(request, channel) {
            return Upgrade::refuse(400, &why);
        }
        let is_stream = cx.is_stream();
        let begin = match Begin::read(request, is_stream) {
            Ok(begin) => begin,
            Err(why) => return Upgrade::refuse(400, &why),
        };
        let wish = match presence::Wish::read(cx, request, channel, &self.options) {
            Ok(wish) => wish,
            Err(refusal) => return Upgrade::Refuse(refusal),
        };
        if let Err(refusal) = filters::filter(cx, request) {
            return Upgrade::Refuse(refusal);
        }
        let seat = |wish| Seat {
            channel: channel.into(),
            begin,
            wish,
        };
        if cx.awaits_token() {
            self.seats.insert(cx, seat(Some(wish)));
            return Upgrade::accept();
        }
        if let Err(refusal) = permit_all(cx, begin.actions(), channel) {
            return Upgrade::Refuse(refusal);
        }
        if let Err(refusal) = admit(cx, channel) {
            return Upgrade::Refuse(refusal);
        }
        let has_cursor = begin.has_cursor(cx, channel);
        let joined = match enter(cx, channel, begin) {
            Ok(joined) => joined,
            Err(why) => return Upgrade::Refuse(unavailable(&why.to_string())),
        };
        if let Err(refusal) = wish.grant(cx, channel) {
            return Upgrade::Refuse(refusal);
        }
        if clients_publish(cx, channel, &self.options) {
            self.seats.insert(cx, seat(None));
        }
        let mut accept = Accept::default();
        if is_stream {
            // Of a stream that is cut before it was told of a gap, nobody may say that it stands behind that.
            if let Some(joined) = joined
                && has_cursor
                && (begin.polls || joined.recovered != Some(false))
            {
                let position = format!("\"{}\"", joined.position);
                accept.headers.push(("ETag".into(), position.into()));
            }
            if let Some(page) = cors::page_of(request) {
                accept.headers.extend(cors::headers_for(page));
                // An answer without a body says where to go on in its head alone.
                let tag = ("Access-Control-Expose-Headers".into(), "ETag".into());
                accept.headers.push(tag);
            }
        }
        Upgrade::Accept(accept)
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: Message<'_>) {
        match hear_token(cx, message) {
            Heard::Nothing => {}
            Heard::Answered => return,
            Heard::Admitted => return self.begin(cx),
        }
        let Some(Seat { channel, .. }) = self.seats.get(cx) else {
            let why = patterns::why_silent(cx);
            let why = why.unwrap_or("this channel is read-only here: publish with POST");
            return bad_message(cx, why);
        };
        if permit(cx, Action::Publish, channel).is_err() {
            return bad_message(cx, "your key or token does not allow to publish here");
        }
        if let Err(why) = cx.publish(channel, message) {
            send_error(cx, &why.to_string());
        }
    }

    fn on_close(&mut self, cx: &mut Context<'_>, _: CloseInfo<'_>) {
        self.seats.remove(cx);
    }

    #[cfg(feature = "presence")]
    fn on_presence(&mut self, cx: &mut Context<'_>, channel: &str, change: PresenceChange<'_>) {
        match change {
            PresenceChange::Occupied => self.callbacks.changed(cx, channel, true),
            PresenceChange::Vacated => self.callbacks.changed(cx, channel, false),
            change => {
                let list_max = self.options.presence_list_max;
                self.crowds.changed(cx, channel, change, list_max);
            }
        }
    }

    #[cfg(feature = "presence")]
    fn on_outcome(&mut self, cx: &mut Context<'_>, ticket: Ticket, outcome: Outcome<'_>) {
        let list_max = self.options.presence_list_max;
        if !self.crowds.elapsed(cx, ticket, list_max) {
            self.callbacks.ended(cx, ticket, &outcome);
        }
    }

    fn on_request(&mut self, cx: &mut Context<'_>, request: &Request<'_>) -> Reply {
        let page = cors::page_of(request);
        match self.take(cx, request) {
            Reply::Now(response) => cors::for_page(response, page).into(),
            other => other,
        }
    }

    fn gap_marker(&self, missed: Option<u32>) -> Option<String> {
        Some(gap_marker(missed))
    }

    fn space(&self) -> &str {
        "pubsub"
    }
}

impl PubSub {
    fn take(&mut self, cx: &mut Context<'_>, request: &Request<'_>) -> Reply {
        if let Some(answer) = cors::preflight(request, "GET, POST", PAGE_HEADERS) {
            return answer.into();
        }
        let Some(channel) = request.param(CHANNEL) else {
            return only(request, &["POST"])
                .unwrap_or_else(|| self.publish_many(cx, request.body))
                .into();
        };
        if let Some(refusal) = only(request, &["GET", "HEAD", "POST"]) {
            return refusal.into();
        }
        if let Err(why) = check_name(request, channel) {
            return bad_request(cx, &why).into();
        }
        if request.method() == "POST" {
            if let Err(refusal) = permit(cx, Action::Publish, channel) {
                return refusal.into();
            }
            return self.publish_one(cx, request, channel).into();
        }
        match wanted(request) {
            // What would wait, or end, with the first message has no head of its own.
            Wanted::Stream(Stream::Poll { .. }) if request.method() == "HEAD" => {}
            // It is asked again with its session; a HEAD has none.
            Wanted::Stream(stream) => {
                let begin = match Begin::read(request, true) {
                    Ok(begin) => begin,
                    Err(why) => return bad_request(cx, &why).into(),
                };
                let refused = permit_all(cx, begin.actions(), channel).err();
                return refused.map_or(Reply::Stream(stream), Reply::Now);
            }
            Wanted::Presence => return presence::page(cx, channel, &self.options).into(),
            // An echo has no answer of its own for plain requests: this is the trait's 426.
            Wanted::WebSocket => return Echo::default().on_request(cx, request),
            Wanted::Info => {}
        }
        let may_know = [Action::Subscribe, Action::Publish]
            .into_iter()
            .any(|action| cx.may(action, channel));
        if !may_know && let Err(refusal) = permit(cx, Action::Presence, channel) {
            return refusal.into();
        }
        let mut json = String::from("{\"channel\":");
        push_string(&mut json, channel);
        _ = write!(json, ",\"subscribers\":{}}}", cx.subscribers(channel));
        Response::json(200, json)
            .header("Cache-Control", "no-store")
            .into()
    }
}

/// What a session is there for.
#[derive(Debug)]
struct Seat {
    channel: Box<str>,
    begin: Begin,
    /// What else it wants as soon as it has shown a token.
    wish: Option<presence::Wish>,
}

/// Whether the options of a channel let this session subscribe (`subscribe`).
fn admit(cx: &mut Context<'_>, channel: &str) -> Result<(), Response> {
    if patterns::is_one(channel) {
        return patterns::admit(cx, channel);
    }
    let (status, why) = match cx.channel_options(channel).subscribe {
        Some(Who::Nobody) => (403, "nobody may subscribe to this channel"),
        Some(Who::Users) if cx.user().is_none() => (
            401,
            "only users may subscribe to this channel: show a token that says who you are",
        ),
        _ => return Ok(()),
    };
    Err(not_admitted(cx, status, why))
}

fn not_admitted(cx: &mut Context<'_>, status: u16, why: &str) -> Response {
    cx.count_refusal("channel_subscribe");
    let refusal = Response::problem(status, why);
    match status {
        401 => refusal.header("WWW-Authenticate", "Bearer"),
        _ => refusal,
    }
}

/// Whether what subscribers of a channel say is published there (`publish`).
fn clients_publish(cx: &Context<'_>, channel: &str, options: &PubSubOptions) -> bool {
    let said = cx.channel_options(channel).publish;
    said.unwrap_or(options.clients_publish) && !patterns::is_one(channel)
}

/// Subscribes to a channel, and answers what came of it; or to a pattern.
fn enter(
    cx: &mut Context<'_>,
    channel: &str,
    begin: Begin,
) -> Result<Option<Joined>, SubscribeError> {
    if patterns::is_one(channel) {
        patterns::join(cx, channel, begin).map(|()| None)
    } else {
        join(cx, channel, begin).map(Some)
    }
}

/// Subscribes, and says so to whoever wants to know where it stands.
fn join(cx: &mut Context<'_>, channel: &str, begin: Begin) -> Result<Joined, SubscribeError> {
    let start = begin.start_in(cx, channel);
    let joined = cx.subscribe_from(channel, start)?;
    if begin.wants_positions && cx.want_envelopes() {
        cx.send_text(&subscribed(channel, joined));
    }
    Ok(joined)
}

/// Whether the session, or the request, may do all of that.
fn permit_all(cx: &mut Context<'_>, actions: &[Action], channel: &str) -> Result<(), Response> {
    let permit = if patterns::is_one(channel) {
        patterns::permit
    } else {
        permit
    };
    actions
        .iter()
        .try_for_each(|action| permit(cx, *action, channel))
}

/// Checks the name that a request is about.
fn check_name(request: &Request<'_>, name: &str) -> Result<(), String> {
    check_channel_name(name).map_err(|why| why.to_string())?;
    match is_pattern(name) {
        true => patterns::check(request, name),
        false => Ok(()),
    }
}

/// Checks the name of a channel to publish to.
fn check_published_name(name: &str) -> Result<(), NameError> {
    check_channel_name(name)?;
    match is_pattern(name) {
        true => Err(NameError::IsPattern),
        false => Ok(()),
    }
}

/// The message that a request's body is.
pub(super) fn message_of<'a>(request: &Request<'a>) -> Message<'a> {
    let media_type = request
        .header("Content-Type")
        .and_then(|value| value.split(';').next());
    let is_binary =
        media_type.is_some_and(|t| t.trim().eq_ignore_ascii_case("application/octet-stream"));
    match std::str::from_utf8(request.body) {
        Ok(text) if !is_binary => Message::Text(text),
        _ => Message::Binary(request.body),
    }
}

/// What a request calls its publication, as nchan's publishers do.
fn event_of<'a>(request: &Request<'a>) -> Result<Option<&'a str>, &'static str> {
    let event = request.header("X-EventSource-Event");
    event.map_or(Ok(()), check_event).map(|()| event)
}

/// One `data` and where it goes.
struct Publication<'a> {
    channels: Vec<Cow<'a, str>>,
    text: Cow<'a, str>,
    event: Option<Cow<'a, str>>,
    tags: Tags,
}

fn push_published(json: &mut String, published: Published) {
    let Published {
        position,
        receivers,
    } = published;
    let Position { offset, epoch, .. } = position;
    _ = write!(
        json,
        "\"offset\":{offset},\"epoch\":\"{epoch:08x}\",\"position\":\"{position}\",\"receivers\":{receivers}"
    );
}

fn refusal(why: PublishError) -> Response {
    match why {
        PublishError::Name(name) => Response::problem(400, &name.to_string()),
        PublishError::Event(why) => Response::problem(400, why),
        PublishError::Budget(_) | PublishError::TooManyChannels(_) => unavailable(&why.to_string()),
    }
}

fn no_list(what: &str, why: NoList) -> String {
    match why {
        NoList::NotArray => format!("\"{what}\" must be an array"),
        NoList::TooLong(max) => format!("\"{what}\" has more than {max} items"),
    }
}

/// What a page may send with a request, beside what every page may.
const PAGE_HEADERS: &str = "Authorization, Content-Type, If-None-Match, Last-Event-ID, X-API-Key, X-EventSource-Event, X-Tags";

/// The variable of the route `/ch/{channel}`.
const CHANNEL: &str = "channel";

#[cfg(all(test, feature = "wildcards"))]
mod patterns_tests;
#[cfg(all(test, feature = "presence"))]
mod presence_tests;
#[cfg(test)]
mod tests;
