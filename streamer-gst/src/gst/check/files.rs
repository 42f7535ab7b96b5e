//! Media files that descriptions name: where they are looked for, and those that are not there.

use std::path::{Path, PathBuf};

use crate::description::{Description, Diagnostic};

/// Where the file of that name is. A relative one is looked for where the program was started, in
/// the directory of the description, and in the one above, where gst-launch is run by hand.
pub(crate) fn media_file(description: &Path, location: &str) -> Option<PathBuf> {
    let directories = description.ancestors().skip(1).take(2);
    let bases = std::iter::once(Path::new("")).chain(directories);
    bases
        .map(|base| base.join(location))
        .find(|path| path.exists())
}

/// Elements whose location names what they read; some with a number in it, as `%05d`.
const READERS: [&str; 4] = [
    "filesrc",
    "multifilesrc",
    "splitfilesrc",
    "gdkpixbufoverlay",
];

/// An error for each file that is not there.
pub(crate) fn missing_files(description: &Description) -> Vec<Diagnostic> {
    let elements = description.graph.elements.iter();
    let files = elements.filter(|element| READERS.contains(&element.factory.text.as_str()));
    files
        .filter_map(|element| element.property("location"))
        .filter(|location| {
            !location.value.unknown && !location.value.text.contains(['\\', '%', '*'])
        })
        .filter(|location| media_file(&description.path, &location.value.text).is_none())
        .map(|location| {
            let message = format!("there is no file {}", location.value.text);
            let error = description.texts.error(location.value.span, message);
            error.help("a relative path counts from the description's directory, or the one above")
        })
        .collect()
}
