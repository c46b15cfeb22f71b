// What an ActionLoop proxy does for a warm call, and nothing else: a line to the launcher, a line back on its descriptor 3.
// Arguments: address, program, its arguments. See measures/openwhisk.py.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"os"
	"os/exec"
	"sync"
)

func main() {
	child := exec.Command(os.Args[2], os.Args[3:]...)
	child.Stderr = os.Stderr
	in, err := child.StdinPipe()
	if err != nil {
		log.Fatal(err)
	}
	out, theirs, err := os.Pipe()
	if err != nil {
		log.Fatal(err)
	}
	child.ExtraFiles = []*os.File{theirs} // descriptor 3
	if err := child.Start(); err != nil {
		log.Fatal(err)
	}
	lines := bufio.NewReader(out)
	var turn sync.Mutex
	http.HandleFunc("/run", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var line bytes.Buffer
		if err != nil || json.Compact(&line, body) != nil {
			http.Error(w, "not JSON", http.StatusBadRequest)
			return
		}
		line.WriteByte('\n')
		turn.Lock()
		defer turn.Unlock()
		in.Write(line.Bytes())
		answer, err := lines.ReadBytes('\n')
		if err != nil {
			http.Error(w, "the launcher has ended", http.StatusBadGateway)
			return
		}
		var value any
		if json.Unmarshal(answer, &value) != nil {
			http.Error(w, "not JSON", http.StatusBadGateway)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write(answer)
	})
	log.Fatal(http.ListenAndServe(os.Args[1], nil))
}
