// Package fleet holds tests only: many real processes that share one session through
// each of the engines that the project ships, against one authorization server that
// ends a session when a refresh token comes twice. Processes are killed and stopped,
// and engines cut off, at random; the server's record is the judge.
//
//	go test ./internal/interop/fleet -v                        # a short run of all
//	go test ./internal/interop/fleet -v -run Chaos -chaos 5m   # five minutes an engine
//	go test ./internal/interop/fleet -run ^$ -bench Store      # how long a store takes, of one process
//
//	go test ./internal/interop/fleet -run TestHandOverPage -write # measures the hand-over for docs/proof.md, on a quiet machine
//
// The processes and the gate before the server are those of internal/processes.
package fleet
