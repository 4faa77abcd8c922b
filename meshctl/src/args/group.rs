//! `meshctl group`: what can be typed about groups.

use clap::{Args as ArgGroup, Subcommand};

/// What to do about groups.
#[derive(Debug, Subcommand)]
pub(crate) enum GroupAction {
    /// List groups, and invitations to some
    List,
    /// Found a group and invite contacts to it
    #[command(after_help = "Examples:
  meshctl group create Hikers Ana Ben
  meshctl send --to group:Hikers 'Who brings the map?'

Those invited decide themselves: nothing is sent to them before they run `meshctl group join Hikers`.")]
    Create(NewGroupArgs),
    /// Show one group with its members
    Show {
        /// Its name or id
        which: String,
    },
    /// Invite contacts, or make a member an administrator
    Invite(InviteArgs),
    /// Accept an invitation
    Join {
        /// The group's name or id
        which: String,
    },
    /// Decline an invitation
    Decline {
        /// The group's name or id
        which: String,
    },
    /// Leave a group; its messages stay here
    Leave {
        /// Its name or id
        which: String,
    },
    /// Remove a member, or take an invitation back
    #[command(
        after_help = "Whoever was removed reads nothing that is sent by members who know of it. A member who has not heard of it
yet may still send what the removed one can read."
    )]
    Remove {
        /// The group's name or id
        which: String,
        /// The member's name or node id
        who: String,
    },
    /// Call a group something else
    Rename {
        /// Its name or id
        which: String,
        /// The new name
        name: String,
    },
    /// Choose whether new members get what was sent before
    History {
        /// The group's name or id
        which: String,
        /// on or off
        #[arg(value_parser = clap::builder::PossibleValuesParser::new(["on", "off"]))]
        setting: String,
    },
}

/// `meshctl group create`.
#[derive(Debug, ArgGroup)]
pub(crate) struct NewGroupArgs {
    /// Its name, 1 to 64 bytes
    pub(crate) name: String,
    /// Contacts to invite: names or node ids
    pub(crate) members: Vec<String>,
    /// New members get what was sent before, as far as it is still carried
    #[arg(long)]
    pub(crate) history: bool,
}

/// `meshctl group invite`.
#[derive(Debug, ArgGroup)]
pub(crate) struct InviteArgs {
    /// The group's name or id
    pub(crate) which: String,
    /// Contacts to invite: names or node ids
    #[arg(required = true)]
    pub(crate) members: Vec<String>,
    /// As administrators, who may change the group; members become administrators
    #[arg(long)]
    pub(crate) admin: bool,
}
