//! Errors as people read them.

use std::error::Error;

/// The error and its causes on one line, each said once, as many errors print their cause
/// themselves; of an API server's refusal, its message alone.
pub fn line(error: &(dyn Error + 'static)) -> String {
    if let Some(message) = causes(error).find_map(refusal) {
        return message.replace('\n', " ");
    }
    let mut line = String::new();
    for cause in causes(error).map(ToString::to_string) {
        if line.is_empty() {
            line = cause;
        } else if !line.contains(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line.replace('\n', " ")
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// kube prints all fields of the API server's answer.
fn refusal(error: &(dyn Error + 'static)) -> Option<String> {
    match error.downcast_ref::<kube::Error>() {
        Some(kube::Error::Api(status)) if !status.message.is_empty() => Some(status.message.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::line;
    use anyhow::Context;

    #[test]
    fn causes_are_said_once_and_on_one_line() {
        let error =
            Err::<(), _>(anyhow::anyhow!("refused\nby peer")).context("c2: can't connect").unwrap_err();
        assert_eq!(line(error.as_ref()), "c2: can't connect: refused by peer");
        let error = Err::<(), _>(anyhow::anyhow!("refused")).context("can't connect: refused").unwrap_err();
        assert_eq!(line(error.as_ref()), "can't connect: refused");
    }

    #[test]
    fn a_refusal_is_its_message() {
        let status = kube::core::Status::failure("quota exceeded", "Forbidden").with_code(403);
        assert_eq!(line(&kube::Error::Api(status.boxed())), "quota exceeded");
    }
}
