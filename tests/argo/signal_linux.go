package osspecific

import (
	"errors"
	"os"
	"syscall"
	"time"

	argoerrors "github.com/argoproj/argo-workflows/v4/util/errors"
)

// Term asks a process to end.
var Term = syscall.SIGTERM

// CanIgnoreSignal says whether a signal is not for the step: the runtime uses SIGURG, and SIGCHLD is about children.
func CanIgnoreSignal(s os.Signal) bool {
	return s == syscall.SIGCHLD || s == syscall.SIGURG
}

// Setpgid makes the step the leader of a process group, so that Kill reaches its children.
func Setpgid(attributes *syscall.SysProcAttr) {
	attributes.Setpgid = true
}

// Kill signals the process group of a process, or the process if it has none.
func Kill(pid int, signal syscall.Signal) error {
	if group, err := syscall.Getpgid(pid); err == nil {
		return syscall.Kill(-group, signal)
	}
	return syscall.Kill(pid, signal)
}

// The caller gives the goroutines that copy the output of the step only 100 ms after Wait has returned. On a busy machine,
// that is not enough, and the step's result is empty.
const copyDelay = 400 * time.Millisecond

// Wait reaps children until the process has ended, and returns how it ended.
func Wait(process *os.Process) error {
	err := reap(process)
	time.Sleep(copyDelay)
	return err
}

func reap(process *os.Process) error {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return err
		case pid != process.Pid:
			time.Sleep(100 * time.Millisecond)
		case status.Exited():
			return argoerrors.NewExitErr(status.ExitStatus())
		case status.Signaled():
			return argoerrors.NewExitErr(128 + int(status.Signal()))
		}
	}
}
