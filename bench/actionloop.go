// What OpenWhisk's ActionLoop proxy does for a warm call: a line to the launcher, a line back on its descriptor 3, awaited beside the
// end of the process, a mark to both logs, and a look at whether the answer is an object. Source: the project's openwhisk-runtime-go,
// executor.go and runHandler.go; its debugging output is left out. Arguments: address, program, its arguments. See measures/openwhisk.py.
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
	"strconv"
	"sync"
)

const mark = "XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX\n"

func main() {
	child := exec.Command(os.Args[2], os.Args[3:]...)
	child.Stdout, child.Stderr = os.Stdout, os.Stderr
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
	ended := make(chan struct{})
	go func() {
		child.Wait()
		close(ended)
	}()
	lines := bufio.NewReader(out)
	var turn sync.Mutex // who is before it has one call at a time
	interact := func(body []byte) []byte {
		turn.Lock()
		defer turn.Unlock()
		in.Write(body)
		in.Write([]byte("\n"))
		came := make(chan []byte, 1)
		go func() {
			line, _ := lines.ReadBytes('\n')
			came <- line
		}()
		var answer []byte
		select {
		case answer = <-came:
		case <-ended:
		}
		child.Stdout.Write([]byte(mark))
		child.Stderr.Write([]byte(mark))
		return answer
	}
	http.HandleFunc("/run", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, "the body cannot be read", http.StatusBadRequest)
			return
		}
		answer := interact(bytes.ReplaceAll(body, []byte("\n"), nil))
		var object map[string]*json.RawMessage
		if json.Unmarshal(answer, &object) != nil {
			http.Error(w, "the action did not return a dictionary", http.StatusBadGateway)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
		w.Write(answer)
		w.(http.Flusher).Flush()
	})
	log.Fatal(http.ListenAndServe(os.Args[1], nil))
}
