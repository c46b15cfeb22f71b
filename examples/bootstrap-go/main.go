// A function in Go: any program called `bootstrap` that serves HTTP on $PORT.
package main

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
)

type answer struct {
	Hello      string `json:"hello"`
	Path       string `json:"path"`
	Invocation string `json:"invocation"`
}

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		var event struct {
			Name string `json:"name"`
		}
		if r.Method == http.MethodPost {
			if err := json.NewDecoder(r.Body).Decode(&event); err != nil {
				http.Error(w, "the body is not JSON: "+err.Error(), http.StatusBadRequest)
				return
			}
		}
		if event.Name == "" {
			event.Name = "world"
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(answer{strings.ToUpper(event.Name), r.URL.Path, r.Header.Get("Dayfly-Invocation-Id")})
	})
	if err := http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil); err != nil {
		panic(err)
	}
}
