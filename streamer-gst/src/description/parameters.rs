//! Values for `${name:-default}`: from the command line, from configuration, from the environment.

use std::collections::BTreeMap;

use admin::SettingsFile;

use super::Description;
use super::nearest::did_you_mean;

/// Where the values of parameters come from: the command line, then the settings file, then the
/// environment.
///
/// Keys are `name`, for all streams, or `stream.name`, for one of them; the latter wins within
/// its layer. An empty value counts as none, as for a shell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    given: Values,
    file: Option<SettingsFile>,
    of_file: Values,
    /// What the settings file says for programs.
    flags: Values,
    /// What was wrong with the settings file at last.
    fault: Option<String>,
    environment: bool,
}

/// What is new in the settings file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    /// Values of parameters.
    pub(super) values: bool,
    /// Flags, which a program reads only at its start.
    pub(super) flags: bool,
}

type Values = BTreeMap<String, String>;

/// A parameter of a description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// The default in the text, if there is one.
    pub default: Option<String>,
    /// What its `param` directive says.
    pub help: Option<String>,
    /// The value in use.
    pub value: String,
}

impl Parameters {
    /// Adds the values of the settings file.
    ///
    /// # Errors
    /// One line about what cannot be read in it, with the place.
    pub fn settings(mut self, file: SettingsFile) -> Result<Self, String> {
        self.file = Some(file);
        self.read_again()?;
        Ok(self)
    }

    /// Takes what the settings file says now. After an error everything is as before, and the
    /// same error is told but once.
    ///
    /// # Errors
    /// As for [`Parameters::settings`].
    pub(super) fn read_again(&mut self) -> Result<Settings, String> {
        let Some(file) = &self.file else {
            return Ok(Settings::default());
        };
        match read(file) {
            Ok((values, flags)) => {
                let news = Settings {
                    values: self.of_file != values,
                    flags: self.flags != flags,
                };
                (self.of_file, self.flags, self.fault) = (values, flags, None);
                Ok(news)
            }
            Err(error) if self.fault.as_ref() == Some(&error) => Ok(Settings::default()),
            Err(error) => {
                self.fault = Some(error.clone());
                Err(error)
            }
        }
    }

    /// The settings file.
    pub(super) fn file(&self) -> Option<&SettingsFile> {
        self.file.as_ref()
    }

    /// Adds the environment variables of the process, the weakest of all.
    #[must_use]
    pub fn environment(mut self) -> Self {
        self.environment = true;
        self
    }

    /// Reads `name=value` and `stream.name=value` as given on a command line.
    ///
    /// # Errors
    /// One sentence about the first argument that is neither.
    pub fn from_arguments<S: AsRef<str>>(
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<Self, String> {
        let mut values = BTreeMap::new();
        for argument in arguments {
            let argument = argument.as_ref();
            let named = argument.split_once('=');
            let Some((key, value)) = named.filter(|(key, _)| is_key(key)) else {
                return Err(format!(
                    "\"{argument}\" is neither name=value nor stream.name=value"
                ));
            };
            values.insert(key.to_owned(), value.to_owned());
        }
        Ok(Self {
            given: values,
            ..Self::default()
        })
    }

    /// A value of the command line that none of the descriptions asks for, which must have been
    /// meant for something: what is wrong, and what may have been meant.
    pub(crate) fn unused<'a>(
        &self,
        descriptions: impl IntoIterator<Item = &'a Description>,
    ) -> Option<(String, Option<String>)> {
        unused(&self.given, descriptions)
    }

    /// As [`Parameters::unused`], of the settings file, whose values may be for other streams.
    pub(super) fn unused_of_file<'a>(
        &self,
        descriptions: impl IntoIterator<Item = &'a Description>,
    ) -> Option<(String, Option<String>)> {
        unused(&self.of_file, descriptions)
    }

    /// The value of a stream's parameter, if anybody gives one.
    pub fn get(&self, stream: &str, name: &str) -> Option<String> {
        let own = format!("{stream}.{name}");
        let given = |layer: &Values| {
            let values = [layer.get(&own), layer.get(name)];
            values
                .into_iter()
                .flatten()
                .find(|v| !v.is_empty())
                .cloned()
        };
        [&self.given, &self.of_file]
            .into_iter()
            .find_map(given)
            .or_else(|| {
                let value = self.environment.then(|| std::env::var(name).ok());
                value.flatten().filter(|value| !value.is_empty())
            })
    }
}

/// The values and the flags of a settings file.
fn read(file: &SettingsFile) -> Result<(Values, Values), String> {
    let values = file.parameters()?;
    if let Some(key) = values.keys().find(|key| !is_key(key)) {
        let file = file.config.display();
        return Err(format!(
            "{file}: [parameters] has \"{key}\", which is no name of a parameter"
        ));
    }
    Ok((values, file.flags()?))
}

fn unused<'a>(
    given: &Values,
    descriptions: impl IntoIterator<Item = &'a Description>,
) -> Option<(String, Option<String>)> {
    let names = |one: &'a Description| {
        let names = one.params.iter().map(|param| param.name.clone());
        names.flat_map(|name| [format!("{}.{name}", one.name), name])
    };
    let known: Vec<String> = descriptions.into_iter().flat_map(names).collect();
    let name = given.keys().find(|name| !known.contains(name))?;
    let help = did_you_mean(name, known.iter().map(String::as_str));
    Some((format!("no stream has a parameter {name}"), help))
}

/// Whether it is `name` or `stream.name`.
fn is_key(key: &str) -> bool {
    let (stream, name) = key.rsplit_once('.').unwrap_or(("any", key));
    super::is_valid_name(stream) && is_parameter_name(name)
}

/// Whether a shell takes it for the name of a variable.
pub(super) fn is_parameter_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_beats_configuration_and_a_stream_s_own_value_the_common_one() {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("settings.toml");
        let text = "[parameters]\nsize = 8\nrate = 9\nnone = ''\na.size = 7\n";
        std::fs::write(&config, text).unwrap();
        let mut parameters = Parameters::from_arguments(["size=1", "b.size=2", "x="])
            .unwrap()
            .settings(SettingsFile {
                config: config.clone(),
            })
            .unwrap();
        assert_eq!(parameters.get("a", "size").as_deref(), Some("1"));
        assert_eq!(parameters.get("b", "size").as_deref(), Some("2"));
        assert_eq!(parameters.get("a", "rate").as_deref(), Some("9"));
        assert_eq!(parameters.get("a", "none"), None);
        assert_eq!(parameters.get("a", "x"), None);
        std::fs::write(&config, "[parameters]\nra-te = 1").unwrap();
        let error = parameters.read_again().unwrap_err();
        assert!(error.contains("\"ra-te\", which is no name"), "{error}");
        assert_eq!(parameters.get("a", "rate").as_deref(), Some("9"));
    }

    #[test]
    fn the_environment_counts_only_when_asked_for() {
        assert_eq!(Parameters::default().get("a", "PATH"), None);
        assert!(
            Parameters::default()
                .environment()
                .get("a", "PATH")
                .is_some()
        );
    }

    #[test]
    fn arguments_that_are_no_assignments_are_refused() {
        for argument in ["size", "=1", "a-b=1", "a b.size=1", ".size=1", "a.=1"] {
            let error = Parameters::from_arguments([argument]).unwrap_err();
            assert!(error.contains(argument), "{error}");
        }
    }
}
