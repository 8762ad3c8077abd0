//! The virtual environments with pinned packages.

use std::{
    env,
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
    process::Output,
    time::Duration,
};

use tokio::{process::Command, time::timeout};

use crate::Unavailable;

/// Which Python packages the services run with; `interop/requirements*.txt` pin them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Packages {
    /// nameko 2.14 on kombu 5.7, and nameko-cachetools: what most installations run.
    #[default]
    Nameko2,
    /// nameko 2.14 on kombu 5.2, the last that writes dates and decimals as plain strings.
    OldKombu,
    /// nameko 3, a release candidate. nameko-cachetools doesn't import there.
    Nameko3,
}

impl Packages {
    /// The virtual environment's interpreter. The place is the environment's `INTEROP_VENV`, `INTEROP_VENV_KOMBU52`
    /// or `INTEROP_VENV_NAMEKO3` (taken as it is), else a directory in the workspace's `target/`, which is made when
    /// `may_make` allows it and it is absent or outdated: some 10 seconds, over the network.
    pub(crate) async fn python(self, may_make: bool) -> Result<PathBuf, Unavailable> {
        let (name, variable, requirements) = match self {
            Self::Nameko2 => ("interop-venv", "INTEROP_VENV", "requirements.txt"),
            Self::OldKombu => (
                "interop-venv-kombu52",
                "INTEROP_VENV_KOMBU52",
                "requirements-kombu52.txt",
            ),
            Self::Nameko3 => (
                "interop-venv-nameko3",
                "INTEROP_VENV_NAMEKO3",
                "requirements-nameko3.txt",
            ),
        };
        if let Some(given) = env::var_os(variable).filter(|path| !path.is_empty()) {
            return existing(PathBuf::from(given), requirements);
        }
        let path = target_dir().join(name);
        if run_script(&path, requirements, Some("--check"))
            .await?
            .status
            .success()
        {
            return Ok(interpreter(&path));
        }
        if !may_make {
            return Err(Unavailable::NoVenv { path, requirements });
        }
        let made = run_script(&path, requirements, None).await?;
        if made.status.success() {
            return Ok(interpreter(&path));
        }
        let output = String::from_utf8_lossy(&[made.stdout, made.stderr].concat()).into_owned();
        Err(Unavailable::VenvFailed { path, output })
    }
}

/// Where the Python files are.
pub(crate) fn scripts() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn existing(path: PathBuf, requirements: &'static str) -> Result<PathBuf, Unavailable> {
    let python = interpreter(&path);
    if python.exists() {
        Ok(python)
    } else {
        Err(Unavailable::NoVenv { path, requirements })
    }
}

fn interpreter(venv: &Path) -> PathBuf {
    venv.join("bin").join("python")
}

fn target_dir() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => scripts().join("..").join(dir), // an absolute one replaces what is before it
        None => scripts().join("..").join("target"),
    }
}

/// `nk_venv.py`: the same that ci.sh runs.
async fn run_script(venv: &Path, requirements: &str, flag: Option<&str>) -> Result<Output, Unavailable> {
    let mut command = Command::new("python3");
    command
        .arg(scripts().join("nk_venv.py"))
        .arg(scripts().join(requirements))
        .arg(venv);
    command.args(flag.map(OsStr::new)).kill_on_drop(true);
    match timeout(MAKE_LIMIT, command.output())
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    {
        Ok(output) => Ok(output),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Err(Unavailable::NotInstalled {
            program: "python3".into(),
            hint: "install Python 3.11 or newer",
            source,
        }),
        Err(source) => Err(Unavailable::Io {
            what: "running nk_venv.py",
            source,
        }),
    }
}

/// A slow network gets its time.
const MAKE_LIMIT: Duration = Duration::from_secs(300);
