# The first process of a machine. The programs of a node write to folders that no flag changes, below
# /run and /var: here these are empty, and in memory. $1 is the cache folder, which may be in one of them.
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
# A shell that waits also buries what others leave behind.
sleep infinity &
wait
