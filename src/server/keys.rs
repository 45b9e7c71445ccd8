//! The keys that prove tokens: from files and from a URL, and again when they change.

use std::error::Error;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use crate::auth::{Authority, KeyError, KeySet, Policy, Rights};
use crate::config::{JwksUrl, Settings};

/// How often the keys of an issuer are fetched. Issuers publish a key long before they use it.
const FETCH_EVERY: Duration = Duration::from_secs(60);

/// For an issuer to answer.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);

/// In bytes, of a file or an answer; 64 RSA keys take a tenth.
const DOCUMENT_BYTES_MAX: usize = 1024 * 1024;

/// Why keys can't be used.
#[derive(Debug, Error)]
pub enum KeysError {
    /// A file is not there, or not for us.
    #[error("{} can't be read (--{setting})", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The setting that names it.
        setting: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file holds no key.
    #[error("{} can't be used (--{setting})", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The setting that names it.
        setting: &'static str,
        /// Why not.
        #[source]
        source: KeyError,
    },
    /// All together they can't be used.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// An issuer does not answer as it should.
#[derive(Debug, Error)]
enum FetchError {
    #[error("no answer")]
    Http(#[from] reqwest::Error),
    #[error("the answer has more than {DOCUMENT_BYTES_MAX} bytes")]
    TooLarge,
    #[error("the answer holds no keys")]
    Key(#[from] KeyError),
}

/// Where keys come from, and those that came.
#[derive(Debug)]
pub(super) struct Keys {
    files: Vec<KeyFile>,
    /// What stood in them, and the keys in it.
    contents: Vec<Vec<u8>>,
    of_files: KeySet,
    url: Option<JwksUrl>,
    /// What was there, and the keys in it.
    document: Vec<u8>,
    of_url: KeySet,
}

#[derive(Clone, Debug)]
struct KeyFile {
    path: PathBuf,
    setting: &'static str,
    parse: fn(&[u8]) -> Result<KeySet, KeyError>,
}

/// What decides about tokens, as the settings say; nothing if nobody is asked for one.
///
/// # Errors
/// A file can't be used.
pub async fn authority(settings: &Settings) -> Result<Option<Arc<Authority>>, KeysError> {
    Ok(load(settings).await?.map(|(authority, _)| authority))
}

/// Reads the keys that stand in files.
///
/// # Errors
/// A file can't be used.
pub(super) fn check(settings: &Settings) -> Result<(), KeysError> {
    let files = key_files(settings);
    parse(&files, &read(&files)?).map(drop)
}

/// What decides about tokens, and its keys.
///
/// # Errors
/// A file can't be used. An issuer that does not answer yet is asked again.
pub(super) async fn load(settings: &Settings) -> Result<Option<(Arc<Authority>, Keys)>, KeysError> {
    if !settings.asks_for_tokens() {
        return Ok(None);
    }
    let keys = Keys::load(settings).await?;
    let policy = Policy {
        audience: settings.token_audience.clone(),
        issuer: settings.token_issuer.clone(),
        life_max: settings.token_life_max,
        inboxes: settings.inboxes,
    };
    let anonymous = Rights {
        subscribe: settings.anonymous_subscribe.clone(),
        publish: settings.anonymous_publish.clone(),
        ..Rights::default()
    };
    Ok(Some((Arc::new(Authority::new(keys.all()?, policy, anonymous)), keys)))
}

impl Keys {
    async fn load(settings: &Settings) -> Result<Self, KeysError> {
        let files = key_files(settings);
        let contents = read(&files)?;
        let of_files = parse(&files, &contents)?;
        let url = settings.token_jwks_url.clone();
        let mut keys = Self { files, contents, of_files, url, document: Vec::new(), of_url: KeySet::default() };
        if let Some(error) = keys.fetch().await.err() {
            warn!(error = &error as &dyn Error, "the issuer's keys could not be fetched (--token-jwks-url), trying on");
        }
        Ok(keys)
    }

    fn all(&self) -> Result<KeySet, KeyError> {
        self.of_files.clone().and(self.of_url.clone())
    }

    /// Answers whether the issuer has other keys than before.
    async fn fetch(&mut self) -> Result<bool, FetchError> {
        let Some(url) = &self.url else { return Ok(false) };
        let document = fetch(url).await?;
        if document == self.document {
            return Ok(false);
        }
        self.of_url = KeySet::parse(&document)?.public();
        self.document = document;
        Ok(true)
    }

    /// Answers whether files hold other keys than before.
    fn look(&mut self, found: Result<Vec<Vec<u8>>, KeysError>) -> Result<bool, KeysError> {
        let found = found?;
        if found == self.contents {
            return Ok(false);
        }
        self.of_files = parse(&self.files, &found)?;
        self.contents = found;
        Ok(true)
    }

    /// Gives the authority other keys when they change. Those that can't be used leave the present ones in place. Files are
    /// looked at every `interval`, and all is looked at whenever somebody `asked` to.
    pub(super) async fn watch(mut self, authority: Arc<Authority>, interval: Duration, asked: Arc<Notify>) {
        let (mut fetched_at, mut told) = (Instant::now(), None);
        loop {
            let is_asked = timeout(interval, asked.notified()).await.is_ok();
            let files = self.files.clone();
            let found = tokio::task::spawn_blocking(move || read(&files)).await.expect("reading never panics");
            let looked = self.look(found);
            // Until an issuer has answered it is asked each time.
            let is_due = is_asked || self.document.is_empty() || fetched_at.elapsed() >= FETCH_EVERY;
            let fetched = if is_due { self.fetch().await } else { Ok(false) };
            if is_due {
                fetched_at = Instant::now();
            }
            // Not in vain: the authority forgets which tokens were proven.
            let mut set = Ok(());
            if matches!(looked, Ok(true)) || matches!(fetched, Ok(true)) {
                info!("the keys that prove tokens are others now");
                set = self.all().map(|keys| authority.set_keys(keys));
            }
            let trouble = [
                looked.err().map(Box::<dyn Error + Send + Sync>::from),
                fetched.err().map(Box::from),
                set.err().map(Box::from),
            ];
            let trouble = trouble.into_iter().flatten().next();
            // Once, and not every time.
            let text = trouble.as_ref().map(ToString::to_string);
            if let Some(error) = trouble.filter(|_| text != told) {
                warn!(error = error.as_ref() as &dyn Error, "the keys that prove tokens stay as they were");
            }
            told = text;
        }
    }
}

fn key_files(settings: &Settings) -> Vec<KeyFile> {
    let file = |setting, parse| move |path: &PathBuf| KeyFile { path: path.clone(), setting, parse };
    let public = settings.token_key_file.iter().map(file("token-key-file", KeySet::parse));
    let secret = settings.token_secret_file.iter().map(file("token-secret-file", KeySet::secret));
    public.chain(secret).collect()
}

fn read(files: &[KeyFile]) -> Result<Vec<Vec<u8>>, KeysError> {
    let read = |KeyFile { path, setting, .. }: &KeyFile| {
        let unreadable = |source| KeysError::Unreadable { path: path.clone(), setting, source };
        read_bounded(path).map_err(unreadable)
    };
    files.iter().map(read).collect()
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let bound = u64::try_from(DOCUMENT_BYTES_MAX).expect("a constant");
    File::open(path)?.take(bound).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn parse(files: &[KeyFile], contents: &[Vec<u8>]) -> Result<KeySet, KeysError> {
    files.iter().zip(contents).try_fold(KeySet::default(), |keys, (KeyFile { path, setting, parse }, content)| {
        let of_file = parse(content).map_err(|source| KeysError::File { path: path.clone(), setting, source })?;
        Ok(keys.and(of_file)?)
    })
}

async fn fetch(url: &JwksUrl) -> Result<Vec<u8>, FetchError> {
    // An issuer that sends us elsewhere could be made to send us anywhere.
    let client =
        reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(FETCH_TIMEOUT).build()?;
    let mut answer = client.get(url.as_str()).send().await?.error_for_status()?;
    let mut document = Vec::new();
    while let Some(bytes) = answer.chunk().await? {
        document.extend_from_slice(&bytes);
        if document.len() > DOCUMENT_BYTES_MAX {
            return Err(FetchError::TooLarge);
        }
    }
    Ok(document)
}
