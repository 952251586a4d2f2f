# Becomes the program in "$@", with a watcher beside it that reads our pipe (stdin). When the pipe
# closes, whoever held it is gone: the watcher kills the program and its process group, and removes
# $1. A line on the pipe means: let it live.
#
# The watcher is in the process group that the program leads, so the program's id is not given to
# another process while the watcher may still kill it.
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
