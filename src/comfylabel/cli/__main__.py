from comfylabel.cli.app import main

main()
