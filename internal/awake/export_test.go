package awake

// WithLateTimer is WithTimeout in a process that is stopped: the timer runs out later.
var WithLateTimer = withTimer
