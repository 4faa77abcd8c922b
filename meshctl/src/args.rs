//! The command line: what can be typed. It only parses; [`crate::place`] finds the daemon, `commands` act.
//!
//! The texts here are the program's reference: `--help`, the man pages and the committed snapshot of the whole
//! help tree come from them.

mod at_rest;
mod channel;
mod contact;
mod group;
mod number;
mod tip;
mod word;

pub(crate) use at_rest::{BackupAction, PassphraseAction, PassphraseSource};
pub(crate) use channel::{ChannelAction, Joining};
pub(crate) use contact::{ContactAction, NewContactArgs, ShownCode};
pub(crate) use group::GroupAction;
pub(crate) use tip::with_tip;
pub(crate) use word::{PriorityArg, ScopeArg, StatusArg};

use clap::builder::StyledStr;
use clap::{Args as ArgGroup, Parser, Subcommand, ValueEnum, ValueHint};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use number::{parse_count, parse_duration, parse_ttl};
use word::{parse_priority, parse_scope, parse_status};

/// Everything on one command line.
#[derive(Debug, Parser)]
#[command(
    name = "meshctl",
    version,
    about = "Send and read messages through MeshLink's daemon, meshd",
    max_term_width = 100,
    arg_required_else_help = true,
    after_help = "`meshctl COMMAND --help` shows examples; `meshctl --help` also exit codes and environment.",
    after_long_help = after_long_help()
)]
pub(crate) struct Args {
    /// Where the daemon is and how to talk.
    #[command(flatten)]
    pub(crate) global: Global,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

fn after_long_help() -> StyledStr {
    StyledStr::from(
        "Finding the daemon, the first that is given:
  1. --socket, --url or --state-dir
  2. MESHLINK_SOCKET, MESHLINK_URL or MESHLINK_STATE_DIR
  3. the user's: $XDG_RUNTIME_DIR/meshlink/meshd.sock, or as api.json in the state directory says
  4. the system's: /run/meshlink/meshd.sock
  5. http://127.0.0.1:6374
  The state directory is $XDG_STATE_HOME/meshlink, or ~/.local/state/meshlink.

Environment:
  MESHLINK_SOCKET, MESHLINK_URL, MESHLINK_STATE_DIR, MESHLINK_TOKEN_FILE: as the flags
  NO_COLOR, CLICOLOR, CLICOLOR_FORCE: colours

Exit codes:
  0  done
  1  failed
  2  usage: the command line makes no sense
  3  no daemon reachable
  4  not authorised
  5  not found
  6  timed out waiting
  130  interrupted",
    )
}

/// Options every command takes.
#[derive(Debug, Clone, Default, ArgGroup)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The daemon's URL, such as http://127.0.0.1:6374
    ///
    /// Plain HTTP only. For a daemon on another machine forward its port or socket with ssh, or its token and every
    /// message cross the network readable.
    #[arg(long, global = true, value_name = "URL", conflicts_with = "socket", value_hint = ValueHint::Url)]
    pub(crate) url: Option<String>,
    /// The daemon's Unix socket
    #[arg(long, global = true, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub(crate) socket: Option<PathBuf>,
    /// File with the API token, for --url
    ///
    /// Default: api-token in the state directory, and only towards this machine.
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) token_file: Option<PathBuf>,
    /// State directory of the daemon to talk to
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) state_dir: Option<PathBuf>,
    /// Print JSON, of version 1: one object, a list as an array, `watch` as one object a line
    #[arg(
        long,
        global = true,
        value_name = "VERSION",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "1",
        value_parser = ["1"]
    )]
    pub(crate) json: Option<String>,
    /// Print results and errors only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Say more on standard error
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Send a message
    Send(Sending),
    /// Print messages as they come in
    Watch(Watch),
    /// List messages, newest first
    List(List),
    /// Show one message
    Show(OneMessage),
    /// Show where a message is and what it waits for
    Trace(OneMessage),
    /// Find messages by the words in them
    Search(Search),
    /// Mark messages as read
    Read(SomeMessages),
    /// Remove messages from this node; other nodes keep theirs
    Forget(SomeMessages),
    /// List conversations
    Conversations,
    /// List nodes heard of, or block one
    Peers {
        /// List them if absent.
        #[command(subcommand)]
        action: Option<PeersAction>,
    },
    /// List live links
    Links,
    /// Show how the node is: transports, store, clock, messages
    Status,
    /// List, add, verify or block contacts, and show your own code
    Contact {
        /// List them if absent.
        #[command(subcommand)]
        action: Option<ContactAction>,
    },
    /// List, found, join, change or leave groups
    Group {
        /// List them if absent.
        #[command(subcommand)]
        action: Option<GroupAction>,
    },
    /// List, join or leave channels
    Channel {
        /// List them if absent.
        #[command(subcommand)]
        action: Option<ChannelAction>,
    },
    /// List, make or revoke API tokens for other programs
    Token {
        /// List them if absent.
        #[command(subcommand)]
        action: Option<TokenAction>,
    },
    /// Show or change how this node introduces itself
    Profile {
        /// Show it if absent.
        #[command(subcommand)]
        action: Option<ProfileAction>,
    },
    /// Look for what is wrong with this node and its machine, and say what to do
    #[command(
        after_help = "Exit code 0: nothing is broken (warnings may be there); 1: a check failed; 3: no daemon.

Examples:
  meshctl doctor
  meshctl doctor --json | jq '.checks[] | select(.state != \"ok\")'"
    )]
    Doctor,
    /// Show the daemon's settings, or have it read them again
    Config {
        /// What to do about them.
        #[command(subcommand)]
        action: ConfigAction,
    },
    /// Show what the daemon logs, or change it until its next reload or restart
    #[command(after_help = "Examples:
  meshctl log
  meshctl log info,meshd::link=debug")]
    Log {
        /// A level (error, warn, info, debug, trace, off) or target=level, separated by commas
        filter: Option<String>,
    },
    /// Look after the store: its size, whether it is sound, its unused space
    Store {
        /// What to do about it.
        #[command(subcommand)]
        action: StoreAction,
    },
    /// Unlock the node with its passphrase
    #[command(after_help = "Examples:
  meshctl unlock
  meshctl unlock --passphrase-file /run/keys/meshlink")]
    Unlock(PassphraseSource),
    /// Lock the node: it carries for others, and nobody reads its messages until it is unlocked
    Lock,
    /// Set, change or remove the passphrase that seals what lies on the disk
    Passphrase {
        /// What to do.
        #[command(subcommand)]
        action: PassphraseAction,
    },
    /// Make a backup of the node's identity and contacts, or restore one
    Backup {
        /// What to do.
        #[command(subcommand)]
        action: BackupAction,
    },
    /// Destroy the node: its keys at once, then its messages and everything else it keeps
    #[command(after_help = "There is no way back. The daemon ends; started again it is a new node.")]
    Wipe {
        /// Do it
        #[arg(long, required = true)]
        yes: bool,
    },
    /// Print a completion script for a shell
    #[command(after_help = "Examples:
  meshctl completions bash > ~/.local/share/bash-completion/completions/meshctl
  meshctl completions fish > ~/.config/fish/completions/meshctl.fish")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the man page
    #[command(after_help = "Examples:
  meshctl man | man -l -
  meshctl man --dir /usr/local/share/man/man1")]
    Man {
        /// Write one page for each command into this directory instead
        #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
        dir: Option<PathBuf>,
    },
}

/// `meshctl send`.
#[derive(Debug, ArgGroup)]
#[command(
    after_help = "Prints the message's id and status. A message that was printed is stored: it goes out when a
neighbour is there, today or next week.

Examples:
  meshctl send 'Water at the school'
  meshctl send --to '#medics' --priority sos 'Two injured at the bridge'
  meshctl send --to Ana 'See you at six'             # sealed: only Ana can read it
  meshctl send --to group:Hikers 'Who has the map?'  # sealed for its members
  uptime | meshctl send -
  meshctl send --wait synced --timeout 5m 'hello'   # exit code 6 if nobody came by
  meshctl send -- '-5 degrees here'"
)]
pub(crate) struct Sending {
    /// The text, 1 to 16384 bytes; `-` reads it from standard input
    ///
    /// Without TEXT it is read from standard input too, if that is no terminal. One line end at the end is left out.
    pub(crate) text: Option<String>,
    /// Where to: #channel, a contact's name, a node id, group: with a group's name or id, or me for a note
    #[arg(long, value_name = "WHERE", default_value = "#mesh")]
    pub(crate) to: String,
    /// Wait until the message is that far
    #[arg(long, value_name = "STATUS", value_enum, default_value_t = Wait::Stored, hide_default_value = true)]
    pub(crate) wait: Wait,
    /// Give up waiting after this time, with exit code 6
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "60s")]
    pub(crate) timeout: Duration,
    /// How urgent it is; a more urgent message overtakes on every link
    #[arg(long, value_parser = parse_priority(), default_value = "normal")]
    pub(crate) priority: PriorityArg,
    /// How long carriers keep it, 60s to 30d; at most 7d if it is for one recipient, 14d for a group [default: 7d; 14d for a group]
    #[arg(long, value_name = "TIME", value_parser = parse_ttl)]
    pub(crate) ttl: Option<u64>,
    /// Id of the message it answers
    #[arg(long, value_name = "ID")]
    pub(crate) reply_to: Option<String>,
}

/// How far a message shall be before `send` returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Wait {
    /// This node has it safely on disk (the default)
    Stored,
    /// At least one other node holds it
    Synced,
    /// The recipient has it
    Delivered,
    /// The recipient has read it
    Read,
}

/// `meshctl watch`.
#[derive(Debug, ArgGroup)]
#[command(after_help = "Goes on by itself when the daemon restarts, and shows every message once.

--exec runs `sh -c CMD` for each message. The message is on standard input as JSON, and in
MESHLINK_ID, MESHLINK_FROM, MESHLINK_FROM_NAME, MESHLINK_AUTHENTICATED, MESHLINK_TO,
MESHLINK_CONVERSATION, MESHLINK_TEXT, MESHLINK_PROTECTION, MESHLINK_PRIORITY. Use them in quotes,
as \"$MESHLINK_TEXT\". Nothing of a message becomes part of the command.

Examples:
  meshctl watch
  meshctl watch -n 1 --timeout 30s --json
  meshctl watch --cursor my-bot --exec './answer \"$MESHLINK_TEXT\"'   # misses nothing while away")]
pub(crate) struct Watch {
    /// End after this many messages
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// End after this time, with exit code 6
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// Start after this position: the `cursor` of a message or of `meshctl status`
    #[arg(long, value_name = "CURSOR", conflicts_with = "cursor")]
    pub(crate) since: Option<String>,
    /// Go on where the last watch with this NAME stopped; the daemon remembers
    #[arg(long, value_name = "NAME")]
    pub(crate) cursor: Option<String>,
    /// Only messages from: an id, its beginning (4 characters or more), a name, or `me`
    ///
    /// Names are not unique and prove nothing: use ids where it matters.
    #[arg(long, value_name = "WHO")]
    pub(crate) from: Option<String>,
    /// Only messages to: #channel, a node id or group:ID
    #[arg(long, value_name = "WHERE")]
    pub(crate) to: Option<String>,
    /// Also messages that this node sent
    #[arg(long)]
    pub(crate) own: bool,
    /// Run a shell command for each message instead of printing it
    #[arg(long, value_name = "CMD", value_hint = ValueHint::CommandString)]
    pub(crate) exec: Option<String>,
}

/// How much of a list of messages is wanted.
#[derive(Debug, ArgGroup)]
pub(crate) struct Extent {
    /// Only this conversation: #channel, a node id or group:ID
    #[arg(long, visible_alias = "to", value_name = "WHERE")]
    pub(crate) conversation: Option<String>,
    /// At most this many
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 20, value_parser = parse_count)]
    pub(crate) limit: usize,
    /// All there are
    #[arg(long, conflicts_with = "limit")]
    pub(crate) all: bool,
    /// Oldest first
    #[arg(long)]
    pub(crate) oldest_first: bool,
}

/// `meshctl list`.
#[derive(Debug, ArgGroup)]
#[command(after_help = "Examples:
  meshctl list
  meshctl list --status pending
  meshctl list --conversation '#medics' --all --json")]
pub(crate) struct List {
    /// How much.
    #[command(flatten)]
    pub(crate) extent: Extent,
    /// Only messages that stand there
    #[arg(long, value_parser = parse_status())]
    pub(crate) status: Option<StatusArg>,
    /// Only what came after this position: the `cursor` of a message or of `meshctl status`
    #[arg(long, value_name = "CURSOR")]
    pub(crate) since: Option<String>,
}

/// `meshctl search`.
#[derive(Debug, ArgGroup)]
#[command(after_help = "Examples:
  meshctl search water
  meshctl search --conversation '#mesh' bridge closed")]
pub(crate) struct Search {
    /// Words that all occur in the message
    #[arg(required = true, value_name = "WORDS")]
    pub(crate) words: Vec<String>,
    /// How much.
    #[command(flatten)]
    pub(crate) extent: Extent,
}

/// A command about one message.
#[derive(Debug, ArgGroup)]
pub(crate) struct OneMessage {
    /// The message's id, or its beginning (4 characters or more)
    pub(crate) id: String,
}

/// A command about some messages.
#[derive(Debug, ArgGroup)]
pub(crate) struct SomeMessages {
    /// The messages' ids, or their beginnings (4 characters or more)
    #[arg(required = true, value_name = "ID")]
    pub(crate) ids: Vec<String>,
}

/// What to do about peers.
#[derive(Debug, Subcommand)]
pub(crate) enum PeersAction {
    /// List nodes heard of
    List,
    /// Show one node
    Show(OnePeer),
    /// Have nothing more to do with a node: no links, no display, nothing carried for it
    Block(OnePeer),
    /// Undo a block
    Unblock(OnePeer),
}

/// A node.
#[derive(Debug, ArgGroup)]
pub(crate) struct OnePeer {
    /// The node's id, or its beginning (4 characters or more)
    pub(crate) id: String,
}

/// What to do about tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenAction {
    /// List tokens; their secrets are never shown again
    List,
    /// Make a token and print its secret, once
    #[command(after_help = "Examples:
  meshctl token create --scope read --out ~/dashboard.token dashboard")]
    Create {
        /// What it is for, 1 to 64 bytes
        name: String,
        /// What it may do; each includes the ones before it
        #[arg(long, value_parser = parse_scope(), default_value = "read")]
        scope: ScopeArg,
        /// Write the secret to this new file, readable by you alone, instead of printing it
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        out: Option<PathBuf>,
    },
    /// Make a token void
    Revoke {
        /// The token's id
        id: String,
    },
}

/// What to do about the settings.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigAction {
    /// Show every setting in force
    Show {
        /// And where each comes from: default, file, environment, flag, or the API
        #[arg(long)]
        origin: bool,
    },
    /// Read the configuration again, as SIGHUP does; says what needs a restart
    Reload,
}

/// What to do about the store.
#[derive(Debug, Subcommand)]
pub(crate) enum StoreAction {
    /// Show how large it is and what is left of the disk
    Stats,
    /// Check everything in it; other requests wait meanwhile
    Verify,
    /// Give its unused space back to the disk; nothing else happens meanwhile
    Compact,
    /// Copy it to a file, with all messages, while everything goes on
    #[command(
        after_help = "What is private in the file opens with `master-key` of the state directory alone, which is not in it.
How to go back to it is in docs/operate.md."
    )]
    Backup {
        /// Where to; must not be there yet.
        file: PathBuf,
    },
}

/// What to do about the profile.
#[derive(Debug, Subcommand)]
pub(crate) enum ProfileAction {
    /// Show how this node introduces itself
    Show,
    /// Change it; every node may carry it, so everyone may read it
    #[command(after_help = "Examples:
  meshctl profile set --name 'Ana, school' --about 'Water and first aid'
  meshctl profile set --about ''   # no longer say anything about yourself")]
    Set(ProfileChange),
}

/// `meshctl profile set`. What is absent stays as it is; an empty text removes it.
#[derive(Debug, ArgGroup)]
#[group(required = true, multiple = true)]
pub(crate) struct ProfileChange {
    /// Name, at most 64 bytes; '' for none
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// What to say about yourself, at most 512 bytes; '' for nothing
    #[arg(long)]
    pub(crate) about: Option<String>,
    /// A PNG, JPEG or WebP file of at most 6000 bytes; '' for none
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) avatar: Option<OsString>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_whole_help_tree_is_as_published() {
        // Every command takes the global options; the tree names them once.
        fn write_tree(command: &clap::Command, is_root: bool, out: &mut String) {
            let hide = |arg: clap::Arg| arg.clone().hide(!is_root && arg.is_global_set());
            let help = command.clone().mut_args(hide).render_long_help().to_string();
            let lines: String = help.lines().map(|line| format!("{}\n", line.trim_end())).collect();
            out.push_str(&format!("$ {} --help\n{lines}\n", command.get_bin_name().unwrap_or("meshctl")));
            for child in command.get_subcommands() {
                write_tree(child, false, out);
            }
        }
        let mut command = Args::command().term_width(100).disable_help_subcommand(true);
        command.build();
        let mut tree = String::new();
        write_tree(&command, true, &mut tree);
        insta::assert_snapshot!("help", tree);
    }

    #[test]
    fn json_versions_are_checked() {
        let parse = |args: &[&str]| Args::try_parse_from(args).map(|args| args.global.json);
        assert_eq!(parse(&["meshctl", "status"]).unwrap(), None);
        assert_eq!(parse(&["meshctl", "--json", "status"]).unwrap().as_deref(), Some("1"));
        assert_eq!(parse(&["meshctl", "status", "--json=1"]).unwrap().as_deref(), Some("1"));
        assert!(parse(&["meshctl", "status", "--json=2"]).is_err());
    }

    #[test]
    fn e05_no_option_takes_a_secret() {
        fn check(command: &clap::Command) {
            for arg in command.get_arguments() {
                let id = arg.get_id().as_str();
                let secret =
                    ["token", "secret", "password", "passphrase", "key"].iter().any(|word| id.contains(word));
                // `--password` alone asks on the terminal.
                let holds_one = arg.get_action().takes_values() && !id.ends_with("_file");
                assert!(!secret || !holds_one, "{id} would put a secret on the command line");
            }
            command.get_subcommands().for_each(check);
        }
        check(&Args::command());
    }
}
