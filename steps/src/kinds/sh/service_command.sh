# A service that the site's own commands run. $1: status | start | stop | restart | release, $2: the record of its being held down,
# $3: start, $4: stop, $5: status (exits 0 if it runs, 3 if it does not).
verb=$1 held=$2 start=$3 stop=$4 status=$5
# running | stopped | unknown
state() {
    sh -c "$status" >/dev/null 2>&1
    case $? in 0) echo running ;; 3) echo stopped ;; *) echo unknown ;; esac
}
stop() {
    sh -c "$stop" || fail "the site's stop command failed" "exit status 0" "exit status $?"
    [ "$(state)" = stopped ] || fail "the service does not stay down" "the status command exits 3" "$(state)"
}
start() {
    sh -c "$start" || fail "the site's start command failed" "exit status 0" "exit status $?"
    sleep 1
    [ "$(state)" != stopped ] || fail "the service was started and ended at once" "the status command exits 0" "it exits 3"
}
case $verb in
status)
    # What the command says may tell one start from the next.
    said=$(sh -c "$status" 2>/dev/null)
    code=$?
    say code "$code"
    say held "$(held_word)"
    say since "$(printf %s "$said" | tr '\n' ' ')"
    ;;
stop)
    if [ "$(state)" = stopped ]; then say changed false; fi
    exists "$held" || hold 'enabled='
    stop
    ;;
start)
    release
    if [ "$(state)" = running ]; then say changed false; else start; fi
    ;;
release) release ;;
restart)
    ! exists "$held" || refuse "the service is held down" "a service that is not held down" "$held" "use service.start"
    [ "$(state)" = stopped ] || stop
    start
    ;;
esac
[ "$verb" = status ] || say state "$(state)"
