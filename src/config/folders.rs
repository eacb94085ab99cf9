//! Where things lie on this machine.

use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;

use super::Error;
use crate::env::{self, Environment};

/// The folder of what counts for every user.
const SYSTEM: &str = "/etc/boltseal";
const PROGRAM: &str = "boltseal";

/// The folders of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folders {
    /// Keys and memory.
    pub home: PathBuf,
    /// The user's `config.toml` and `policy.toml`; none where no such place is known, as without `HOME`.
    pub config: Option<PathBuf>,
    /// The system's `config.toml` and `policy.toml`.
    pub system: PathBuf,
}

impl Folders {
    /// The folders by the platform's rules and the variables; `home` is what a flag says.
    ///
    /// No variable moves the system's folder: the policy there binds every user. The settings' `home` counts only where
    /// neither flag nor variable says it; see [`Folders::with_settings_home`].
    ///
    /// # Errors
    /// [`Error::NoFolder`] where nothing says where keys and memory are to lie.
    pub fn locate(home: Option<&Path>, environment: &dyn Environment) -> Result<Self, Error> {
        Self::among(home, environment, etcetera::choose_base_strategy().ok().as_ref())
    }

    fn among(
        home: Option<&Path>,
        environment: &dyn Environment,
        platform: Option<&impl BaseStrategy>,
    ) -> Result<Self, Error> {
        let said = home.map(Path::to_owned).or_else(|| environment.variable(env::HOME).map(PathBuf::from));
        let missing = |message: String| Error::NoFolder { what: "data", message };
        let home = match (said, platform) {
            (Some(said), _) if said.as_os_str().is_empty() => {
                return Err(missing(format!("`{}` is empty", env::HOME)));
            }
            (Some(said), _) => std::path::absolute(&said).map_err(|error| missing(error.to_string()))?,
            (None, Some(platform)) => platform.data_dir().join(PROGRAM),
            (None, None) => return Err(missing(format!("neither `HOME` nor `{}` is set", env::HOME))),
        };
        let config = platform.map(|platform| platform.config_dir().join(PROGRAM));
        Ok(Self { home, config, system: PathBuf::from(SYSTEM) })
    }

    /// The same folders with the settings' `home`, unless a flag or variable said it.
    pub fn with_settings_home(
        mut self,
        settings: Option<&Path>,
        flag: Option<&Path>,
        environment: &dyn Environment,
    ) -> Self {
        if let (Some(home), None, None) = (settings, flag, environment.variable(env::HOME)) {
            home.clone_into(&mut self.home);
        }
        self
    }

    /// The user's policy file.
    ///
    /// # Errors
    /// [`Error::NoFolder`] where there is no place for it.
    pub fn user_policy(&self) -> Result<PathBuf, Error> {
        let missing = || Error::NoFolder { what: "configuration", message: "`HOME` is not set".to_owned() };
        self.config.as_ref().map(|config| config.join("policy.toml")).ok_or_else(missing)
    }

    /// The system's policy file.
    pub fn system_policy(&self) -> PathBuf {
        self.system.join("policy.toml")
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    struct Platform;

    impl BaseStrategy for Platform {
        fn home_dir(&self) -> &Path {
            Path::new("/u")
        }
        fn config_dir(&self) -> PathBuf {
            "/u/config".into()
        }
        fn data_dir(&self) -> PathBuf {
            "/u/data".into()
        }
        fn cache_dir(&self) -> PathBuf {
            "/u/cache".into()
        }
        fn state_dir(&self) -> Option<PathBuf> {
            None
        }
        fn runtime_dir(&self) -> Option<PathBuf> {
            None
        }
    }

    fn nothing(_: &str) -> Option<OsString> {
        None
    }

    fn from_variable(name: &str) -> Option<OsString> {
        (name == "BOLTSEAL_HOME").then(|| "/variable".into())
    }

    #[test]
    fn a_flag_beats_the_variable_beats_the_settings_beats_the_platform() {
        let flag = Some(Path::new("/flag"));
        let settings = Some(Path::new("/settings"));
        let home = |flag, settings, environment: &dyn Environment| {
            let folders = Folders::among(flag, environment, Some(&Platform)).unwrap();
            folders.with_settings_home(settings, flag, environment).home
        };
        assert_eq!(home(flag, settings, &from_variable), Path::new("/flag"));
        assert_eq!(home(flag, settings, &nothing), Path::new("/flag"));
        assert_eq!(home(None, settings, &from_variable), Path::new("/variable"));
        assert_eq!(home(None, settings, &nothing), Path::new("/settings"));
        assert_eq!(home(None, None, &nothing), Path::new("/u/data/boltseal"));
    }

    #[test]
    fn the_policy_of_user_and_system_have_fixed_places() {
        let folders = Folders::among(None, &nothing, Some(&Platform)).unwrap();
        assert_eq!(folders.user_policy().unwrap(), Path::new("/u/config/boltseal/policy.toml"));
        assert_eq!(folders.system_policy(), Path::new("/etc/boltseal/policy.toml"));
    }

    #[test]
    fn without_a_home_directory_the_variable_is_enough_for_keys_and_memory() {
        let folders = Folders::among(None, &from_variable, None::<&Platform>).unwrap();
        assert_eq!((folders.home.as_path(), &folders.config), (Path::new("/variable"), &None));
        assert!(matches!(folders.user_policy(), Err(Error::NoFolder { what: "configuration", .. })));
        assert!(matches!(Folders::among(None, &nothing, None::<&Platform>), Err(Error::NoFolder { what: "data", .. })));
        let empty = |_: &str| Some(OsString::new());
        assert!(Folders::among(None, &empty, Some(&Platform)).is_err());
    }
}
