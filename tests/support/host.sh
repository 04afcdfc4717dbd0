# The first process of a test host: see host.rs. Runs in mount and process namespaces of its own, and the host ends with it.
# $1: the host's directory.
set -u
dir=$1
mount -t proc proc /proc || exit
# What a reboot changes, and who lives here, are the host's own; the machine's files are not touched.
mount --bind "$dir/boot_id" /proc/sys/kernel/random/boot_id || exit
for file in passwd shadow; do mount --bind "$dir/$file" "/etc/$file" || exit; done
if [ -e "$dir/disk.img" ]; then
    mount -o loop "$dir/disk.img" "$dir/disk" || exit
fi
# What a host's service manager would start at boot.
[ ! -e "$dir/at-boot" ] || sh "$dir/at-boot"
: >"$dir/booted"
# Reaps whoever is left to the first process. The input ends with the test, however that ends.
exec 3<&0
cat <&3 >/dev/null &
wait "$!"
