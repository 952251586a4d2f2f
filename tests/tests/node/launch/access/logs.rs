//! kubectl logs.

use super::*;

/// A container that writes `one`, and `two` once the file `/data/go` exists.
const WRITER: &str = "echo one; until [ -e /data/go ]; do sleep 0.1; done; echo two";

/// A container that fails once, and then runs.
const RESTARTED: &str =
    "if [ -e /data/ran ]; then echo second; sleep 600; else : > /data/ran; echo first; exit 1; fi";

pub(super) async fn logs_of_containers(launched: &Launched) -> anyhow::Result<()> {
    let mut pod = shell("logs", "");
    let container = |name: &str, script: &str| {
        json!({
            "name": name,
            "image": TOOLS_IMAGE,
            "command": ["sh", "-c", script],
            "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
        })
    };
    pod["spec"]["restartPolicy"] = json!("OnFailure");
    pod["spec"]["volumes"] = json!([{ "name": "data", "emptyDir": {} }]);
    pod["spec"]["initContainers"] = json!([container("init", "echo initialized")]);
    pod["spec"]["containers"] = json!([container("writer", WRITER), container("restarted", RESTARTED)]);
    create(launched.home.client(), "shell", &pod).await?;

    becomes(launched, &["-c", "restarted"], "second\n").await;
    becomes(launched, &["-c", "restarted", "--previous"], "first\n").await;
    becomes(launched, &["-c", "init"], "initialized\n").await;
    let all = logs(launched, &["--all-containers", "--prefix"]).await?;
    for line in ["[pod/logs/init] initialized", "[pod/logs/writer] one", "[pod/logs/restarted] second"] {
        ensure!(all.lines().any(|other| other == line), "{line} is not in {all}");
    }

    // Follows the log until the container ends.
    let mut follow = kubectl(launched, &[], &["logs", "logs", "-c", "writer", "-f"]).await?;
    let mut followed = lines(&mut follow)?;
    ensure!(followed.next_line().await?.as_deref() == Some("one"));
    launched
        .home
        .kubectl(["-n", "shell", "exec", "logs", "-c", "writer", "--", "sh", "-c", ": > /data/go"])
        .await?;
    ensure!(followed.next_line().await?.as_deref() == Some("two"));
    ensure!(followed.next_line().await?.is_none());
    ensure!(follow.wait().await?.success());

    let stamped = logs(launched, &["-c", "writer", "--timestamps"]).await?;
    let time = stamped.lines().nth(1).and_then(|line| line.split(' ').next()).context(stamped.clone())?;
    becomes(launched, &["-c", "writer", &format!("--since-time={time}")], "two\n").await;
    becomes(launched, &["-c", "writer", "--since=1h"], "one\ntwo\n").await;
    becomes(launched, &["-c", "writer", "--tail=1"], "two\n").await;
    becomes(launched, &["-c", "writer", "--limit-bytes=2"], "on").await;

    // An error has the source's words.
    let error =
        logs(launched, &["-c", "absent"]).await.err().context("a container that does not exist has a log")?;
    ensure!(error.to_string().contains("absent"), "{error}");
    Ok(())
}

async fn logs(launched: &Launched, flags: &[&str]) -> anyhow::Result<String> {
    launched.home.kubectl([&["-n", "shell", "logs", "logs"], flags].concat()).await
}

/// Waits until kubectl logs prints this.
async fn becomes(launched: &Launched, flags: &[&str], expected: &str) {
    eventually_within(DEADLINE, format!("kubectl logs {flags:?} prints {expected:?}"), async || {
        let log = logs(launched, flags).await?;
        ensure!(log == expected, "{log:?}");
        anyhow::Ok(())
    })
    .await;
}
