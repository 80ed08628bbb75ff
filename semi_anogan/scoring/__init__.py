"""From images to score, label and map: the detector and the parts it is made of. How the parts are chosen
lies in training.
"""
