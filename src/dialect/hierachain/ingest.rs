//! `POST /hierachain/publish`: the chain process says what happened.
//!
//! | body | reaches (server mode · guide mode) |
//! | --- | --- |
//! | `{"chain_name":"sc","kind":"block","data":{…}}` | the chain · whole chain |
//! | `{"chain_name":"sc","kind":"event","data":{…}}` | the chain · whole chain, and the type in `data` |
//! | … and `"event_type":"qc"` | who listed `qc` · whole chain, and `qc` |
//!
//! The answer is `{"delivered":N}`: N sessions, each counted once. A body that breaks a rule gets a 400 that names it,
//! a full server 503; then nothing was published to anybody. `data` goes out as the bytes it came as, with one
//! exception: where an event has a `details_cid`, server mode gets a reference in the place of its `details`.

use std::borrow::Cow;
use std::fmt::Write;

use serde_json::value::RawValue;

use super::{SPACE, guide, recovery, server};
use crate::dialect::members::{is_object, members, push_string, string};
use crate::dialect::{bad_request, only, unavailable};
use crate::http::Response;
use crate::hub::{Context, Handler, Reply, Request, Upgrade, check_channel_name};
use crate::ws::Message;

/// Answers `POST /hierachain/publish`; made by [`HieraChain::ingest`](super::HieraChain::ingest).
#[derive(Debug, Clone)]
pub struct HieraChainIngest {
    _made_by_its_chain: (),
}

impl HieraChainIngest {
    pub(super) fn new() -> Self {
        Self {
            _made_by_its_chain: (),
        }
    }
}

impl Handler for HieraChainIngest {
    fn on_request(&mut self, cx: &mut Context<'_>, request: &Request<'_>) -> Reply {
        if let Some(refusal) = only(request, &["POST"]) {
            return refusal.into();
        }
        let publication = match Publication::read(request.body) {
            Ok(publication) => publication,
            Err(why) => return bad_request(cx, &why).into(),
        };
        match publication.publish(cx) {
            Ok(delivered) => Response::json(200, format!("{{\"delivered\":{delivered}}}")).into(),
            Err(why) => unavailable(&why).into(),
        }
    }

    fn on_upgrade(&mut self, _: &mut Context<'_>, _: &Request<'_>) -> Upgrade {
        Upgrade::refuse(
            404,
            "this URL takes publications by POST, it does not speak WebSocket",
        )
    }

    fn on_message(&mut self, _: &mut Context<'_>, _: Message<'_>) {}

    fn space(&self) -> &str {
        SPACE
    }
}

/// A checked body.
struct Publication<'a> {
    chain: Cow<'a, str>,
    kind: Kind<'a>,
    data: &'a str,
}

enum Kind<'a> {
    Block,
    Event {
        /// Named by the publisher: a typed publication.
        explicit: Option<Cow<'a, str>>,
        /// Found in `data`; nobody can have subscribed to a type that is no proper name.
        found: Option<Cow<'a, str>>,
        /// Where `details` stands in `data`, and the reference that goes there in server mode.
        offchain: Option<Offchain<'a>>,
    },
}

struct Offchain<'a> {
    cid: Cow<'a, str>,
    details: Option<&'a RawValue>,
}

impl<'a> Publication<'a> {
    fn read(body: &'a [u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(body).map_err(|_| "the body is not UTF-8")?;
        let [chain, kind, event_type, data] =
            members(text, ["chain_name", "kind", "event_type", "data"])
                .map_err(|why| format!("the body: {why}"))?;
        let chain = name("chain_name", chain.ok_or("\"chain_name\" is missing")?)?;
        let data = data.ok_or("\"data\" is missing")?;
        if !is_object(data) {
            return Err("\"data\" must be an object".into());
        }
        let kind = string(kind.ok_or("\"kind\" is missing")?);
        let kind = match (kind.as_deref(), event_type) {
            (Some("block"), None) => Kind::Block,
            (Some("block"), Some(_)) => return Err("a block has no \"event_type\"".into()),
            (Some("event"), event_type) => {
                let [own_type, own_event, cid, details] = members(
                    data.get(),
                    ["event_type", "event", "details_cid", "details"],
                )
                .map_err(|why| format!("\"data\": {why}"))?;
                let found = [own_type, own_event].into_iter().flatten().find_map(string);
                Kind::Event {
                    explicit: event_type.map(|raw| name("event_type", raw)).transpose()?,
                    found: found.filter(|found| check_channel_name(found).is_ok()),
                    offchain: cid
                        .and_then(string)
                        .filter(|cid| !cid.is_empty())
                        .map(|cid| Offchain { cid, details }),
                }
            }
            _ => return Err("\"kind\" must be \"block\" or \"event\"".into()),
        };
        Ok(Self {
            chain,
            kind,
            data: data.get(),
        })
    }

    /// Publishes in both vocabularies, or in neither.
    fn publish(&self, cx: &mut Context<'_>) -> Result<usize, String> {
        let (typed, matching) = match &self.kind {
            Kind::Block => (None, None),
            Kind::Event {
                explicit, found, ..
            } => (
                explicit.as_deref(),
                explicit.as_deref().or(found.as_deref()),
            ),
        };
        let in_server_mode = vec![server::audience(&self.chain, typed)];
        let in_guide_mode = guide::audience(&self.chain, matching);
        let mut deliveries = Vec::with_capacity(2);
        for (channels, write) in [
            (
                in_server_mode,
                Self::server_text as fn(&Self, &Context<'_>) -> String,
            ),
            (in_guide_mode, Self::guide_text),
        ] {
            if channels
                .iter()
                .any(|channel| cx.subscribers(channel) > 0 || recovery::keeps(cx, channel))
            {
                deliveries.push((channels, write(self, cx)));
            }
        }
        recovery::publish_all(cx, &deliveries)
    }

    fn server_text(&self, cx: &Context<'_>) -> String {
        let kind = if matches!(self.kind, Kind::Block) {
            "block_added"
        } else {
            "event"
        };
        let mut text = self.opening(kind);
        match &self.kind {
            Kind::Event {
                offchain: Some(offchain),
                ..
            } => offchain.push_data(&mut text, self.data),
            _ => text.push_str(self.data),
        }
        _ = write!(
            text,
            ",\"optimized\":true,\"timestamp\":\"{}\"",
            cx.now().iso_micros()
        );
        if let Kind::Event {
            explicit: Some(event_type),
            ..
        } = &self.kind
        {
            text.push_str(",\"event_type\":");
            push_string(&mut text, event_type);
        }
        text.push('}');
        text
    }

    fn guide_text(&self, _: &Context<'_>) -> String {
        let kind = if matches!(self.kind, Kind::Block) {
            "new_block"
        } else {
            "new_event"
        };
        let mut text = self.opening(kind);
        text.push_str(self.data);
        text.push('}');
        text
    }

    /// Everything up to `data`.
    fn opening(&self, kind: &str) -> String {
        let mut text = String::with_capacity(self.data.len() + self.chain.len() + 160);
        _ = write!(text, "{{\"type\":\"{kind}\",\"chain_name\":");
        push_string(&mut text, &self.chain);
        text.push_str(",\"data\":");
        text
    }
}

impl Offchain<'_> {
    /// Appends `data` with the reference in the place of its `details`.
    fn push_data(&self, text: &mut String, data: &str) {
        // The member was lent from `data`, so the distance of the two is its place in it.
        let place = self.details.and_then(|details| {
            let at = (details.get().as_ptr() as usize).checked_sub(data.as_ptr() as usize)?;
            Some((data.get(..at)?, data.get(at + details.get().len()..)?))
        });
        match place {
            Some((before, after)) => {
                text.push_str(before);
                self.push_reference(text);
                text.push_str(after);
            }
            None => {
                // It has a `details_cid`, so there is a member to set this one apart from.
                text.push_str(data.strip_suffix('}').unwrap_or(data));
                text.push_str(",\"details\":");
                self.push_reference(text);
                text.push('}');
            }
        }
    }

    fn push_reference(&self, text: &mut String) {
        text.push_str("{\"_offchain\":true,\"cid\":");
        let chars = self.cid.chars().count();
        if chars <= 2 * CID_END_CHARS {
            push_string(text, &self.cid);
        } else {
            let first: String = self.cid.chars().take(CID_END_CHARS).collect();
            let last: String = self.cid.chars().skip(chars - CID_END_CHARS).collect();
            push_string(text, &format!("{first}...{last}"));
        }
        text.push_str(",\"note\":\"Fetch via REST API with resolve_cid=true\"}");
    }
}

fn name<'a>(key: &str, raw: &'a RawValue) -> Result<Cow<'a, str>, String> {
    let name = string(raw).ok_or_else(|| format!("\"{key}\" must be a string"))?;
    check_channel_name(&name).map_err(|why| format!("\"{key}\": {why}"))?;
    Ok(name)
}

/// A long content id is shown by so many characters at either end.
const CID_END_CHARS: usize = 12;
