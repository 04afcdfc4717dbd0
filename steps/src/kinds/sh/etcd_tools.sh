# Finds etcd's programs on a host. Takes its own arguments off the script's: $1: the directory that the site names, $2: the
# manifest of etcd's static pod, $3: how the names begin under which it is set aside, $4: the container's name, $5: the
# cluster's version in the site, $6: where containerd and $7: where CRI-O keeps images. All but the last two may be empty.
tools_bin=$1 tools_manifest=$2 tools_aside=$3 tools_container=$4 tools_version=$5 tools_containerd=$6 tools_crio=$7
shift 7
# Settings of the host's own etcd must not reach the programs.
for setting in $(env | sed -n 's/^\(ETCD_[A-Z0-9_]*\)=.*/\1/p; s/^\(ETCDCTL_[A-Z0-9_]*\)=.*/\1/p'); do unset "$setting"; done
export ETCDCTL_API=3

# Sets found to the first of the programs that the host has: in the site's directory, for all of them first, because one of
# another version must not slip in from PATH; where etcd is a static pod in its image, since that is what runs; in PATH.
find_program() {
    found=
    for program in "$@"; do
        [ -z "$tools_bin" ] || ! [ -x "$tools_bin/$program" ] || found=$tools_bin/$program
        [ -z "$found" ] || return 0
    done
    if [ -n "$tools_manifest" ]; then
        look_into_images
        for program in "$@"; do
            found=$(printf %s "$images" | awk -v name="$program" '$1 == name { print $3; exit }')
            [ -z "$found" ] || return 0
        done
    fi
    for program in "$@"; do
        found=$(command -v "$program") && return 0
    done
    found=
    return 1
}
need_program() {
    find_program "$@" || refuse "this host has no $(printf %s "$*" | sed 's/ / and no /')" \
        "in ${tools_bin:+$tools_bin, }${tools_manifest:+an image of etcd, }or in PATH" "${images_seen:+images: $images_seen; }PATH: $PATH" \
        "set \`etcd.bin_dir\` of the host in the site"
}

# Sets images to lines `NAME VERSION PATH`: the programs of the image that etcd's static pod runs. They are static, so they run
# on the host too, also while etcd is stopped. Which version: that of the manifest, also of one that is set aside; else that of
# the site; else the only one. Where no store is found, the programs of the container while it runs.
images='' images_seen='' images_looked=
look_into_images() {
    [ -z "$images_looked" ] || return 0
    images_looked=yes
    if [ "$(id -u)" != 0 ]; then
        images_seen="only root can read them"
        return 0
    fi
    all=$(for layer in "$tools_containerd"/io.containerd.snapshotter.v1.overlayfs/snapshots/*/fs "$tools_crio"/overlay/*/diff; do programs_in "$layer"; done | sort -u)
    [ -n "$all" ] || all=$(programs_of_container)
    images_seen=$(printf %s "$all" | awk '{ print $2 }' | sort -u | tr '\n' ' ')
    wanted=$(version_of_manifest)
    [ -n "$wanted" ] || wanted=$tools_version
    case $wanted$images_seen in
    *' '*' '*) [ -n "$wanted" ] || refuse "the images on this host have programs of several versions of etcd" "one, or a manifest or site that says which" "$images_seen" "set \`etcd.version\` in the site, or \`etcd.bin_dir\` of the host" ;;
    esac
    of=$(newest_of "$wanted")
    # The pod may wait for an image of another patch release: any of the same minor version will do.
    [ -n "$of" ] || of=$(newest_of "$(printf %s "$wanted" | cut -d. -f1,2)")
    images=$(printf '%s\n' "$all" | awk -v of="$of" '$2 == of')
    refuse_unless_alike
}

# Prints the highest version among all that begins with this.
newest_of() {
    printf '%s\n' "$all" | awk -v wanted="$1" '$2 != "" && (wanted == "" || index($2 ".", wanted ".") == 1) { print $2 }' |
        sort -t. -k1,1n -k2,2n -k3,3n | tail -n 1
}

# Two that say they are the same version must be the same: an image of somebody else may be made to look like etcd's.
refuse_unless_alike() {
    [ -z "$images" ] || printf '%s\n' "$images" | while read -r name of path; do
        first=$(printf '%s\n' "$images" | awk -v name="$name" '$1 == name { print $3; exit }')
        cmp -s "$first" "$path" || refuse "two images have $name $of, and they differ" "the same program" "$first $path" \
            "find out whose they are; set \`etcd.bin_dir\` of the host in the site"
    done || exit $?
}

# Prints the programs below a directory. A program is asked for its version as nobody, with the directory for its root.
programs_in() {
    for directory in usr/local/bin usr/bin bin; do
        for name in etcdutl etcdctl etcd; do
            [ -f "$1/$directory/$name" ] && [ -x "$1/$directory/$name" ] && ! [ -L "$1/$directory" ] && ! [ -L "$1/$directory/$name" ] || continue
            of=$(chroot --userspec=65534:65534 --groups= "$1" "/$directory/$name" "$([ $name = etcd ] && echo --version || echo version)" 2>/dev/null | version_in)
            [ -z "$of" ] || echo "$name $of $1/$directory/$name"
        done
    done
}
programs_of_container() {
    find_crictl
    id=$(running "$tools_container" "$(namespace_of "$tools_manifest")" '' 2>/dev/null | head -n 1)
    pid=$([ -z "$id" ] || cri inspect --output go-template --template '{{.info.pid}}' "$id" 2>/dev/null)
    [ -z "$pid" ] || programs_in "/proc/$pid/root"
}
version_in() { sed -n 's/.*[vV]ersion: *\([0-9][0-9.]*\).*/\1/p' | head -n 1; }

# The version in the tag of etcd's image, as in `registry.k8s.io/etcd:3.6.5-0`; nothing where it has none.
version_of_manifest() {
    file=$tools_manifest
    exists "$file" || file=$(ls -1tcd "$tools_aside"* 2>/dev/null | head -n 1)
    [ -z "$file" ] || sed -n 's/.*"\{0,1\}image"\{0,1\}: *"\{0,1\}[^" ,]*etcd[^" ,@]*:v\{0,1\}\([0-9]*\.[0-9]*\.[0-9]*\).*/\1/p' "$file" 2>/dev/null | head -n 1
}
