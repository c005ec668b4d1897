def main(arguments):
    raise SystemExit(2)
