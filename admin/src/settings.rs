//! Flags out of a file: below the name of a program stands what its command line may leave out.
//!
//! A flag goes before its environment variable, that before the file, and the file before the
//! default. What the file says becomes the default of the flag, so `--help` shows it and the same
//! rules hold for it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::builder::OsStr;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Command, Parser};
use toml::de::{DeTable, DeValue};

/// The programs that may share one file; each reads the table of its name.
const PROGRAMS: [&str; 4] = ["rusticast", "signaling", "streamer-gst", "front"];
/// The table of values for the parameters of descriptions.
const PARAMETERS: &str = "parameters";
/// The default of [`SettingsFile::config`]: nothing is missing when there is no such file.
const DEFAULT: &str = "rusticast.toml";
/// The flag that names the file.
const CONFIG: &str = "config";

/// The flag that names the file.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct SettingsFile {
    /// File with flags, in a table for each program, and values for parameters (TOML)
    #[arg(
        long,
        value_name = "FILE",
        env = "RUSTICAST_CONFIG",
        default_value = DEFAULT
    )]
    pub config: PathBuf,
}

impl Default for SettingsFile {
    fn default() -> Self {
        Self {
            config: PathBuf::from(DEFAULT),
        }
    }
}

impl SettingsFile {
    /// The values for parameters of descriptions: `name`, or `stream.name` for one stream. None
    /// when there is no such file.
    ///
    /// # Errors
    /// One line with the place of what cannot be read.
    pub fn parameters(&self) -> Result<BTreeMap<String, String>, String> {
        let Some(text) = Text::read(&self.config)? else {
            return Ok(BTreeMap::new());
        };
        let mut values = BTreeMap::new();
        for (name, value, place) in text.table(PARAMETERS)? {
            let DeValue::Table(of_stream) = value else {
                values.insert(name, text.scalar(&value, place)?);
                continue;
            };
            for (key, value) in of_stream {
                let scalar = text.scalar(value.get_ref(), value.span())?;
                values.insert(format!("{name}.{}", key.into_inner()), scalar);
            }
        }
        Ok(values)
    }

    /// What the file says for programs, as `program.flag`, to see whether that has changed; they
    /// read it at their start with [`parse`]. None when there is no such file.
    ///
    /// # Errors
    /// One line with the place of what cannot be read.
    pub fn flags(&self) -> Result<BTreeMap<String, String>, String> {
        let Some(text) = Text::read(&self.config)? else {
            return Ok(BTreeMap::new());
        };
        let mut flags = BTreeMap::new();
        for program in PROGRAMS {
            for (flag, _, place) in text.table(program)? {
                let written = text.text.get(place).unwrap_or_default();
                flags.insert(format!("{program}.{flag}"), written.to_owned());
            }
        }
        Ok(flags)
    }
}

/// Reads the flags of a program that has a [`SettingsFile`] among them; ends the process with one
/// clear error, or after `--help`, as clap does.
pub fn parse<F: Parser>() -> F {
    parse_from(std::env::args_os().collect()).unwrap_or_else(|error| error.exit())
}

fn parse_from<F: Parser>(arguments: Vec<OsString>) -> Result<F, clap::Error> {
    let mut command = F::command();
    if let Some((path, wanted)) = chosen(&command, &arguments) {
        let failed = |why| command.clone().error(ErrorKind::InvalidValue, why);
        match Text::read(&path).map_err(failed)? {
            Some(text) => command = with_defaults(command.clone(), &text).map_err(failed)?,
            None if wanted => return Err(failed(format!("{}: no such file", path.display()))),
            None => {}
        }
    }
    F::from_arg_matches(&command.try_get_matches_from(arguments)?)
}

/// The file that the arguments name, and whether it is not just the default one.
fn chosen(command: &Command, arguments: &[OsString]) -> Option<(PathBuf, bool)> {
    // What else is wrong is told when everything is known.
    let command = command.clone().ignore_errors(true);
    let matches = command.try_get_matches_from(arguments).ok()?;
    let mut at: &ArgMatches = &matches;
    loop {
        if let Ok(Some(path)) = at.try_get_one::<PathBuf>(CONFIG) {
            let source = at.value_source(CONFIG);
            return Some((path.clone(), source != Some(ValueSource::DefaultValue)));
        }
        at = at.subcommand()?.1;
    }
}

/// The command, with what the file says for the defaults of its flags.
fn with_defaults(command: Command, text: &Text<'_>) -> Result<Command, String> {
    let program = command.get_name().to_owned();
    let mut values = Vec::new();
    for (flag, value, place) in text.table(&program)? {
        let one = |value: &DeValue<'_>, place| text.scalar(value, place);
        let given = match &value {
            DeValue::Array(list) => list
                .iter()
                .map(|value| one(value.get_ref(), value.span()))
                .collect::<Result<Vec<_>, _>>()?,
            single => vec![one(single, place.clone())?],
        };
        let judged = judge(&command, &flag, &given);
        judged.map_err(|why| text.at(place, &why))?;
        values.push((flag, given));
    }
    Ok(set(command, &values))
}

/// Whether a program takes these values for a flag: clap's own word on it.
fn judge(command: &Command, flag: &str, values: &[String]) -> Result<(), String> {
    if flag == CONFIG {
        return Err("a settings file names no other one; --config does".to_owned());
    }
    let Some(command) = having(command, flag) else {
        let name = command.get_name();
        return Err(format!(
            "{name} has no flag --{flag}; {name} --help lists them"
        ));
    };
    let takes_value = |arg: &&clap::Arg| arg.get_action().takes_values();
    let mut arguments = command.get_arguments();
    let arg = arguments.find(|arg| arg.get_long() == Some(flag));
    let line = match (arg.filter(takes_value), values) {
        (Some(_), _) => values.iter().map(|v| format!("--{flag}={v}")).collect(),
        (None, [value]) if value == "true" || value == "false" => Vec::new(),
        (None, _) => return Err(format!("{flag} is true or false")),
    };
    let line = [vec![command.get_name().to_owned()], line].concat();
    // The command line will have what else it must have.
    let alone = command.clone().mut_args(|arg| arg.required(false));
    let judged = alone.try_get_matches_from(line);
    judged.map(drop).map_err(|error| {
        let told = error.to_string();
        let first = told.lines().next().unwrap_or_default();
        first.trim_start_matches("error: ").to_owned()
    })
}

/// The command, or that of its commands, which has a flag.
fn having<'a>(command: &'a Command, flag: &str) -> Option<&'a Command> {
    let mut arguments = command.get_arguments();
    if arguments.any(|arg| arg.get_long() == Some(flag)) {
        return Some(command);
    }
    let mut commands = command.get_subcommands();
    commands.find_map(|command| having(command, flag))
}

/// Gives flags their defaults, wherever they stand.
fn set(mut command: Command, values: &[(String, Vec<String>)]) -> Command {
    for (flag, given) in values {
        let arguments = command.get_arguments();
        let id = arguments
            .filter(|arg| arg.get_long() == Some(flag))
            .map(|arg| arg.get_id().clone())
            .next();
        if let Some(id) = id {
            let given: Vec<OsStr> = given.iter().map(OsStr::from).collect();
            command = command.mut_arg(id, |arg| arg.default_values(given));
        }
    }
    command.mut_subcommands(|command| set(command, values))
}

/// A file that was read.
struct Text<'a> {
    path: &'a Path,
    text: String,
}

type Entry<'a> = (String, DeValue<'a>, Range<usize>);

impl<'a> Text<'a> {
    /// Nothing when there is no such file.
    fn read(path: &'a Path) -> Result<Option<Self>, String> {
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Some(Self { path, text })),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("{}: {error}", path.display())),
        }
    }

    /// What a table has, with the places; other tables must only be such as somebody reads.
    fn table(&self, name: &str) -> Result<Vec<Entry<'_>>, String> {
        let all = DeTable::parse(&self.text).map_err(|error| {
            let place = error.span().unwrap_or_default();
            self.at(place, error.message())
        })?;
        let mut entries = Vec::new();
        for (key, value) in all.into_inner() {
            let own: &str = key.get_ref();
            let known = PROGRAMS.contains(&own) || own == PARAMETERS;
            let DeValue::Table(table) = value.into_inner() else {
                let why = format!("\"{own}\" belongs below [PROGRAM]");
                let help = format!("as [rusticast], or below [{PARAMETERS}]");
                return Err(self.at(key.span(), &format!("{why}, {help}")));
            };
            if !known {
                let tables = PROGRAMS.map(|name| format!("[{name}]")).join(", ");
                let why = format!("nobody reads [{own}]");
                return Err(self.at(
                    key.span(),
                    &format!("{why}; there are {tables} and [{PARAMETERS}]"),
                ));
            }
            if own == name {
                entries = table
                    .into_iter()
                    .map(|(key, value)| (key.into_inner().into_owned(), value.span(), value))
                    .map(|(key, place, value)| (key, value.into_inner(), place))
                    .collect();
            }
        }
        Ok(entries)
    }

    /// A value as a command line has it.
    fn scalar(&self, value: &DeValue<'_>, place: Range<usize>) -> Result<String, String> {
        match value {
            DeValue::String(text) => Ok(text.clone().into_owned()),
            DeValue::Integer(number) => Ok(number.as_str().to_owned()),
            DeValue::Float(number) => Ok(number.as_str().to_owned()),
            DeValue::Boolean(value) => Ok(value.to_string()),
            _ => Err(self.at(place, "write a text, a number, true or false")),
        }
    }

    /// A fault with its place.
    fn at(&self, place: Range<usize>, why: &str) -> String {
        let before = self.text.get(..place.start).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default();
        let column = column.chars().count() + 1;
        format!("{}:{line}:{column}: {why}", self.path.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Parser)]
    #[command(name = "front")]
    struct One {
        #[command(flatten)]
        file: SettingsFile,
        #[arg(long, env = "ADMIN_TEST_HTTP", default_value = "127.0.0.1:1", value_parser = crate::address)]
        http: std::net::SocketAddr,
        #[arg(long = "origin", value_delimiter = ',')]
        origins: Vec<String>,
        #[arg(long)]
        insecure: bool,
        #[arg(long)]
        name: Option<String>,
    }

    #[derive(Debug, Parser)]
    #[command(name = "streamer-gst")]
    enum Several {
        Run(One),
        Other {
            what: String,
        },
        Check {
            #[command(flatten)]
            file: SettingsFile,
            #[arg(required = true)]
            files: Vec<String>,
            #[arg(long)]
            json: bool,
        },
    }

    struct Written {
        directory: tempfile::TempDir,
    }

    impl Written {
        fn new(text: &str) -> Self {
            let directory = tempfile::tempdir().unwrap();
            std::fs::write(directory.path().join("s.toml"), text).unwrap();
            Self { directory }
        }

        fn path(&self) -> String {
            self.directory.path().join("s.toml").display().to_string()
        }

        fn parse<F: Parser>(&self, line: &[&str]) -> Result<F, String> {
            let path = self.path();
            let arguments = [line, &["--config", path.as_str()]].concat();
            let parsed = parse_from(arguments.into_iter().map(OsString::from).collect());
            parsed.map_err(|error| error.to_string().replace(&path, "s.toml"))
        }
    }

    const ALL: &str = "[front]\nhttp = '127.0.0.1:2'\norigin = ['a', 'b']\ninsecure = true\n\
                       name = 7\n[parameters]\nsize = 640\n[parameters.camera]\ndevice = '/dev/v'\n\
                       [rusticast]\nwhatever = 1\n";

    #[test]
    fn the_file_goes_before_defaults_and_flags_before_the_file() {
        let file = Written::new(ALL);
        let one: One = file.parse(&["front"]).unwrap();
        assert_eq!(one.http.port(), 2);
        assert_eq!(one.origins, ["a", "b"]);
        assert!(one.insecure);
        assert_eq!(one.name.as_deref(), Some("7"));
        let line = ["front", "--http", "127.0.0.1:3", "--origin", "c"];
        let one: One = file.parse(&line).unwrap();
        assert_eq!((one.http.port(), one.origins), (3, vec!["c".to_owned()]));
    }

    #[test]
    fn commands_share_the_table_of_their_program() {
        let file = Written::new("[streamer-gst]\nhttp = '127.0.0.1:2'\n");
        let Several::Run(one) = file.parse(&["streamer-gst", "run"]).unwrap() else {
            unreachable!("run was asked for");
        };
        assert_eq!(one.http.port(), 2);
        // A command without the flag reads no file.
        let line = ["streamer-gst", "other", "x"].map(OsString::from).to_vec();
        assert!(matches!(
            parse_from(line),
            Ok(Several::Other { what }) if what == "x"
        ));
    }

    #[test]
    fn what_a_command_must_have_is_not_asked_of_the_file() {
        let file = Written::new("[streamer-gst]\njson = true\n");
        let parsed: Several = file.parse(&["streamer-gst", "check", "a.launch"]).unwrap();
        assert!(
            matches!(parsed, Several::Check { json: true, files, .. } if files == ["a.launch"])
        );
    }

    #[test]
    fn flags_are_seen_to_change_and_parameters_are_none() {
        let flags = |text: &str| {
            let file = Written::new(text);
            let config = PathBuf::from(file.path());
            SettingsFile { config }.flags().unwrap()
        };
        assert!(flags("[parameters]\na = 1\n").is_empty());
        let one = flags("[front]\nhttp = 'a'\n");
        assert_eq!(one, flags("[parameters]\na = 1\n[front]\nhttp = 'a'\n"));
        assert_ne!(one, flags("[front]\nhttp = 'b'\n"));
    }

    #[test]
    fn parameters_are_common_or_of_one_stream() {
        let file = Written::new(ALL);
        let config = PathBuf::from(file.path());
        let values = SettingsFile { config }.parameters().unwrap();
        let values: Vec<_> = values.into_iter().collect();
        let expected = [("camera.device", "/dev/v"), ("size", "640")];
        assert_eq!(values, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (text, told) in [
            ("[front]\nhtp = 1\n", "s.toml:2:7: front has no flag --htp"),
            ("[frond]\n", "s.toml:1:2: nobody reads [frond]"),
            ("http = 'x'\n", "s.toml:1:1: \"http\" belongs below"),
            (
                "[front]\nhttp = 'x'\n",
                "s.toml:2:8: invalid value 'x' for '--http",
            ),
            (
                "[front]\ninsecure = 'no'\n",
                "s.toml:2:12: insecure is true or false",
            ),
            (
                "fps = 3\n",
                "\"fps\" belongs below [PROGRAM], as [rusticast], or below [parameters]",
            ),
            (
                "[front]\nconfig = 'x'\n",
                "s.toml:2:10: a settings file names no other one",
            ),
            ("[front]\nname = {}\n", "s.toml:2:8: write a text, a number"),
            ("[front\n", "s.toml:1:7: "),
        ] {
            let error = Written::new(text).parse::<One>(&["front"]).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
        let line = ["front", "--config", "/nonexistent/s.toml"];
        let line = line.map(OsString::from).to_vec();
        let error = parse_from::<One>(line).unwrap_err().to_string();
        assert!(
            error.contains("/nonexistent/s.toml: no such file"),
            "{error}"
        );
    }
}
