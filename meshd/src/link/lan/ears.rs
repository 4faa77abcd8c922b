//! The voices on all interfaces: which there should be, which there are, and why some are missing.

use std::collections::BTreeMap;

use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

use super::interfaces::{Interface, Interfaces};
use super::multicast::{Advert, Family, Presence, Voice};

/// Keeps one voice for each interface and family.
pub(super) struct Ears {
    /// Dropped to make all say good-bye.
    presence: Option<watch::Sender<Presence>>,
    shown: Presence,
    heard: mpsc::Sender<Advert>,
    voices: BTreeMap<(u32, Family), (Interface, AbortHandle)>,
    tasks: JoinSet<()>,
    /// Interfaces on which nothing is heard, and why.
    errors: BTreeMap<(u32, Family), (String, std::io::ErrorKind)>,
}

impl Ears {
    pub(super) fn new(presence: Presence, heard: mpsc::Sender<Advert>) -> Self {
        Self {
            presence: Some(watch::Sender::new(presence)),
            shown: presence,
            heard,
            voices: BTreeMap::new(),
            tasks: JoinSet::new(),
            errors: BTreeMap::new(),
        }
    }

    /// How this node is to be found at the moment.
    pub(super) fn presence(&self) -> Presence {
        self.shown
    }

    /// From now on it is found otherwise.
    pub(super) fn set_presence(&mut self, presence: Presence) {
        self.shown = presence;
        if let Some(sender) = &self.presence {
            sender.send_replace(presence);
        }
    }

    /// Joins the groups of interfaces that came or changed and leaves those that went. Says whether all is
    /// well: every interface has a voice.
    pub(super) fn follow(&mut self, interfaces: &Interfaces) -> bool {
        while self.tasks.try_join_next().is_some() {}
        self.errors.clear();
        let wanted: BTreeMap<(u32, Family), &Interface> =
            interfaces.local.iter().flat_map(families).collect();
        self.voices.retain(|key, (interface, task)| {
            let stays = wanted.get(key).is_some_and(|wanted| *wanted == interface) && !task.is_finished();
            if !stays {
                task.abort();
            }
            stays
        });
        for (key, interface) in wanted {
            if self.voices.contains_key(&key) {
                continue;
            }
            match Voice::join(interface, key.1) {
                Ok(voice) => self.start(key, interface, voice),
                Err(error) => {
                    tracing::debug!(%error, interface = %interface.name, "no multicast DNS there");
                    let why = (format!("{}: {error}", interface.name), error.kind());
                    self.errors.insert(key, why);
                }
            }
        }
        self.errors.is_empty()
    }

    fn start(&mut self, key: (u32, Family), interface: &Interface, voice: Voice) {
        let Some(presence) = &self.presence else { return };
        let task = self.tasks.spawn(voice.serve(presence.subscribe(), self.heard.clone()));
        self.voices.insert(key, (interface.clone(), task));
    }

    /// Why nothing is heard, if that is so everywhere.
    pub(super) fn errors(&self) -> Option<(&str, std::io::ErrorKind)> {
        let first = self.errors.values().next().filter(|_| self.voices.is_empty());
        first.map(|(why, kind)| (why.as_str(), *kind))
    }

    /// Says good-bye everywhere.
    pub(super) async fn leave(&mut self) {
        self.presence = None;
        while self.tasks.join_next().await.is_some() {}
    }
}

fn families(interface: &Interface) -> impl Iterator<Item = ((u32, Family), &Interface)> {
    let v4 = (!interface.v4.is_empty()).then_some(Family::V4);
    let v6 = interface.v6.iter().any(|(ip, _)| ip.is_unicast_link_local()).then_some(Family::V6);
    v4.into_iter().chain(v6).map(move |family| ((interface.index, family), interface))
}
