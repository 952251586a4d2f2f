# Runs the program in "$@", with a watcher beside it that reads a pipe to the parent (stdin). When the pipe closes, the
# parent has ended: the watcher kills the program and its process group, and removes $1. The line "keep" on the pipe
# ends the watcher, and the program keeps running.
#
# The watcher is in the program's process group, so the kernel doesn't reuse the program's ID while the watcher may
# still kill it.
leftovers=$1
shift
exec 3<&0 </dev/null
(
    (
        IFS= read -r word <&3
        [ "$word" = keep ] && exit
        kill -s KILL "$$"
        [ -z "$leftovers" ] || rm -rf -- "$leftovers" || rm -rf -- "$leftovers"
        kill -s KILL -- "-$$"
    ) &
)
exec 3<&-
exec "$@"
