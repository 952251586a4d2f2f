# The first process of a node. The node's programs write to folders in /run and /var that no flag changes, so these are
# empty tmpfs mounts. $1 is the cache folder, which may be in one of them.
set -e
mount --bind "$1" /mnt
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var
mkdir -p /var/lib /var/log /var/tmp
ln -s /run /var/run
mkdir -p "$1"
mount --bind /mnt "$1"
umount /mnt
echo up
# While it waits, the shell also reaps orphaned processes.
sleep infinity &
wait
