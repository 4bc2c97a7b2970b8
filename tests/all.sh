# Every test: those that need no network beside those that mostly wait for real parts, because two
# cores are then both in use. Called by make test with the folder of pytest.
set -u
folder=$1
said=$(mktemp)
trap 'rm -f "$said"' EXIT
"$folder/pytest" tests/unit tests/architecture >"$said" 2>&1 &
quick=$!
"$folder/pytest" tests/integration tests/acceptance
rest_code=$?
wait "$quick"
quick_code=$?
echo "tests/unit and tests/architecture:"
cat "$said"
[ "$quick_code" -eq 0 ] && [ "$rest_code" -eq 0 ]
